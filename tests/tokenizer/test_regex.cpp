#include "helpers.h"
#include "tokenizer/pre_tokenizer.h"

namespace primus::tokenizer {
namespace {

struct SplitCase {
  std::string pattern;
  std::string text;
  std::string behavior;
  std::string pieces;  // with | between
};

std::string split(const SplitCase& given) {
  const Value spec(Dict{{"type", Value("Split")},
                        {"pattern", Value(Dict{{"Regex", Value(given.pattern)}})},
                        {"behavior", Value(given.behavior)}});
  Words words{AlignedText(given.text, 0, false), {{0, static_cast<std::uint32_t>(given.text.size())}}};
  make_pre_tokenizer(spec, "split").step->apply(words);
  std::string pieces;
  for (const Words::Span span : words.spans) {
    pieces += (pieces.empty() ? "" : "|") + given.text.substr(span.begin, span.end - span.begin);
  }
  return pieces;
}

/// What pre_tokenizers.Split of the Hugging Face tokenizers library (0.23.3) gives, where Oniguruma and PCRE2 read a
/// pattern differently.
const SplitCase kSplits[] = {
    {R"(\p{N}{1,3}+)", "a1234567b", "Isolated", "a|1234567|b"},
    {R"((?:ab){2}+c)", "ababababc abababc", "Isolated", "ababababc| ab|ababc"},
    {R"(a{2}?b)", "aab b ab", "Isolated", "aab| |b| a|b"},
    {R"([ab]{2}+)", "ababa", "Isolated", "abab|a"},
    {R"(\d{,2}x)", "123x x", "Isolated", "1|23x| |x"},
    {R"(x{,})", "x{,}", "Isolated", "x{,}"},
    {R"([\t\v]+)", "a\r\tb\013c\xC2\x85", "Isolated", "a\r|\t|b|\013|c\xC2\x85"},
    {R"(\v)", "a\rb\013c", "Isolated", "a\rb|\013|c"},
    {R"(\w+)", "a\u00BEb \u24D0\U0001F130x a\u200Db e\u0301", "Isolated",
     "a\u00BEb| |\u24D0\U0001F130x| |a|\u200D|b| |e\u0301"},
    {R"([\w]+)", "a\u00BEb", "Isolated", "a|\u00BE|b"},
    {R"(\W+)", "a\u00BE - b", "Isolated", "a\u00BE| - |b"},
    {R"(\b\w)", "e\u0301a \u0301b", "Isolated", "e|\u0301a |\u0301|b"},
    {R"(a\B)", "ab a\u0301 a", "Isolated", "a|b |a|\u0301 a"},
    {R"(\p{Han}+)", "\u6F22\u302B\u5B57\u3002", "Isolated", "\u6F22|\u302B|\u5B57|\u3002"},
    {R"(\P{Han}+)", "\u6F22\u302B\u5B57\u3002", "Isolated", "\u6F22|\u302B|\u5B57|\u3002"},
    {R"(\p{^Han}+)", "\u6F22\u302B\u5B57\u3002", "Isolated", "\u6F22|\u302B|\u5B57|\u3002"},
    {R"([\p{Hiragana}]+)", "\u3042\u30FC", "Isolated", "\u3042|\u30FC"},
    {R"([[:punct:]]+)", "a+$.,\u27C4b", "Isolated", "a|+$.,\u27C4|b"},
    {R"([[:alpha:]_]+)", "a\u24D0\u0300_1", "Isolated", "a\u24D0|\u0300|_|1"},
    {R"([[:space:]]+)", "a\u180E\u2003b", "Isolated", "a\u180E|\u2003|b"},
    {R"([[:upper:]])", "aA\u2167\u24D0", "Isolated", "a|A|\u2167|\u24D0"},
    {R"([\u4e00-\u9fff]+)", "a\u6F22\u5B57b", "Isolated", "a|\u6F22\u5B57|b"},
    {R"(\u0041\x{10}?)", "A\020A", "Isolated", "A\020|A"},
    {R"([]a]+)", "]a[b", "Isolated", "]a|[b"},
    {R"((a|b{1,2}+)c)", "bbbbc", "Isolated", "bbbbc"},
    {R"((?=\d)|x*)", "a1xx2b", "Contiguous", "a|1|xx|2|b"},
    {R"((?=\d)|x*)", "a1xx2b", "MergedWithPrevious", "a|1xx|2|b"},
    {R"((?=\d)|x*)", "a1xx2b", "MergedWithNext", "a|1|xx2|b"},
};

TEST(Regex, PatternsMeanWhatOnigurumaReads) {
  for (const SplitCase& given : kSplits) EXPECT_EQ(split(given), given.pieces) << given.pattern << " on " << given.text;
}

TEST(Regex, RefusesWhatItCannotExpress) {
  EXPECT_ERROR(split({"[a[b]]", "", "Isolated", ""}), "split: a set inside a set (nested [ ] or &&) is not supported");
  EXPECT_ERROR(split({"[^\\W]", "", "Isolated", ""}), "\\W inside [ ] is not supported: [^\\W]");
  EXPECT_ERROR(split({"[[:^alpha:]]", "", "Isolated", ""}), "[:^alpha:] is not supported");
  EXPECT_ERROR(split({"[[:alpha]", "", "Isolated", ""}), "'[:' without ':]'");
  EXPECT_ERROR(split({"(a", "", "Isolated", ""}), "does not compile");
}

}  // namespace
}  // namespace primus::tokenizer
