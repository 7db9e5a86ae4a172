// Stands in until the tokenizer room compiles chat templates.
#include "base/error.h"
#include "tokenizer/chat_template.h"

namespace primus::tokenizer {

struct ChatTemplate::Parts {};
ChatTemplate::ChatTemplate(const std::string&, const std::string& name, Value, std::vector<std::string>) {
  throw bad_input("{}: chat templates are not compiled in", name);
}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;
ChatTemplate ChatTemplate::of(const Tokenizer&, const std::string&) { return ChatTemplate("", "chat template"); }
std::string ChatTemplate::render_text(const Value&, const Value&, bool, const Value&) const { return ""; }
RenderedChat ChatTemplate::render(const Value&, const Value&, const Value&) const { return {}; }
const std::string& ChatTemplate::name() const { throw bad_input("chat templates are not compiled in"); }
std::vector<TrainedSpan> last_turn(const std::vector<TrainedSpan>& spans) { return spans; }

}  // namespace primus::tokenizer
