#include <atomic>
#include <map>
#include <thread>

#include "helpers.h"

namespace primus::tokenizer {
namespace {

const Tokenizer& tiny(const std::string& name) {
  static std::map<std::string, Tokenizer> loaded;
  auto found = loaded.find(name);
  if (found == loaded.end()) found = loaded.emplace(name, Tokenizer::load(kData + name)).first;
  return found->second;
}

/// texts.jsonl holds what the Hugging Face tokenizers library does (data/make_tiny.py); what is left out of a row is
/// equal to what stands before it.
TEST(Tokenizer, EqualsHuggingFace) {
  const auto rows = rows_of("texts.jsonl");
  ASSERT_GT(rows.size(), 500U);
  for (const Value& row : rows) {
    const std::string& name = row.find("tokenizer")->as_string();
    const std::string& text = row.find("text")->as_string();
    const Tokenizer& tokenizer = tiny(name);
    const std::vector<TokenId> ids = ids_of(*row.find("ids"));
    EXPECT_EQ(tokenizer.encode(text), ids) << name << ": " << text;
    EXPECT_EQ(tokenizer.encode(text), ids) << name << " from the cache: " << text;
    EXPECT_EQ(tokenizer.encode(text, true), row.find("special") ? ids_of(*row.find("special")) : ids)
        << name << ": " << text;
    EXPECT_EQ(tokenizer.encode_with_offsets(text).ids, ids) << name << ": " << text;
    if (name == "odd") continue;  // its tokens swallow spaces and hold bytes that the library decodes otherwise
    const std::string decoded = row.find("decoded") ? row.find("decoded")->as_string() : text;
    EXPECT_EQ(tokenizer.decode(ids), decoded) << name << ": " << text;
    EXPECT_EQ(tokenizer.decode(ids, true), row.find("skipped") ? row.find("skipped")->as_string() : decoded) << name;
  }
}

TEST(Tokenizer, OffsetsCoverTheText) {
  for (const Value& row : rows_of("texts.jsonl")) {
    const std::string& name = row.find("tokenizer")->as_string();
    const std::string& text = row.find("text")->as_string();
    const Encoding encoding = tiny(name).encode_with_offsets(text);
    ASSERT_EQ(encoding.ids.size(), encoding.offsets.size());
    std::size_t at = 0;
    for (const ByteSpan& span : encoding.offsets) {
      EXPECT_GE(span.begin, at) << name << ": " << text;
      EXPECT_GE(span.end, span.begin) << name << ": " << text;
      at = span.begin;
    }
    if (encoding.ids.empty()) continue;
    EXPECT_EQ(encoding.offsets.front().begin, 0U);
    EXPECT_EQ(encoding.offsets.back().end, text.size()) << name << ": " << text;
  }
}

TEST(Tokenizer, OffsetsPointIntoTheTextBeforeNormalization) {
  const std::string text = "e\xCC\x81 x<|im_end|>";  // e and a combining accent become one character
  const Encoding encoding = tiny("qwen").encode_with_offsets(text);
  ASSERT_GE(encoding.ids.size(), 3U);
  EXPECT_EQ(encoding.offsets.back(), (ByteSpan{5, 15}));
  EXPECT_EQ(encoding.offsets[encoding.ids.size() - 2].end, 5U);
}

TEST(Tokenizer, RandomTextsComeBack) {
  const Philox random{11, 3};
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const std::string text = random_text(random, i);
    ASSERT_EQ(tiny("llama3").decode(tiny("llama3").encode(text)), text);
    if (text.find("\xE2\x96\x81") == std::string::npos) {  // there, ▁ and a space are one and the same
      ASSERT_EQ(tiny("llama2").decode(tiny("llama2").encode(text)), text);
    }
    const std::string normal = tiny("qwen").decode(tiny("qwen").encode(text));  // in normal form C
    ASSERT_EQ(tiny("qwen").decode(tiny("qwen").encode(normal)), normal);
  }
}

TEST(Tokenizer, StreamsWholeCharacters) {
  for (const char* name : {"qwen", "llama2", "metaspace"}) {
    const std::string text = "né 日本 😀 the end";
    StreamDecoder decoder(tiny(name));
    std::string streamed;
    for (const TokenId id : tiny(name).encode(text)) {
      const std::string piece = decoder.push(id);
      EXPECT_EQ(piece.find("\xEF\xBF\xBD"), std::string::npos) << name;
      streamed += piece;
    }
    EXPECT_EQ(streamed + decoder.finish(), text) << name;
  }
  const auto ids = tiny("qwen").encode("😀");
  ASSERT_GT(ids.size(), 1U);
  StreamDecoder cut(tiny("qwen"));
  EXPECT_EQ(cut.push(ids[0]), "");
  EXPECT_EQ(cut.finish(), "\xEF\xBF\xBD");
}

TEST(Tokenizer, ManyThreadsGiveTheSameIds) {
  const Tokenizer fresh = Tokenizer::load(kData + "qwen");
  const auto rows = rows_of("texts.jsonl");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (const Value& row : rows) {
        if (row.find("tokenizer")->as_string() != "qwen") continue;
        wrong += fresh.encode(row.find("text")->as_string()) != ids_of(*row.find("ids"));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer& tokenizer = tiny("qwen");
  const auto end = tokenizer.token_to_id("<|im_end|>");
  ASSERT_TRUE(end);
  EXPECT_TRUE(tokenizer.is_special(*end));
  EXPECT_FALSE(tokenizer.is_special(*tokenizer.token_to_id("<think>")));
  EXPECT_EQ(tokenizer.id_to_token(*end), "<|im_end|>");
  EXPECT_FALSE(tokenizer.token_to_id("no such token"));
  EXPECT_EQ(tokenizer.vocabulary_size(), 1006U);
  EXPECT_NE(tokenizer.fingerprint(), tiny("llama3").fingerprint());
}

TEST(Tokenizer, RefusesWrongTextAndIds) {
  EXPECT_ERROR(tiny("qwen").encode("ab\xFFxy"), "not valid UTF-8 at byte 2 (0xff)");
  EXPECT_ERROR(tiny("qwen").encode("ab\xED\xA0\x80"), "not valid UTF-8 at byte 2");
  EXPECT_ERROR(tiny("qwen").decode(std::vector<TokenId>{-1}), "no token has the id -1");
  EXPECT_ERROR(tiny("qwen").decode(std::vector<TokenId>{1 << 30}), "no token has the id");
}

TEST(Tokenizer, AMarkAtTheBeginningIsForWhatBeginsTheText) {
  const Tokenizer tokenizer = Tokenizer::parse(R"({"model":{"type":"BPE","vocab":{"x":0,"\u2581":1},"merges":[]},
      "normalizer":{"type":"Strip","strip_left":true,"strip_right":true},
      "pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"first"}})");
  const std::vector<TokenId> marked{1, 0}, unmarked{0};
  EXPECT_EQ(tokenizer.encode("x"), marked);
  EXPECT_EQ(tokenizer.encode(" x"), unmarked) << "the text begins with the space that Strip took";
  EXPECT_EQ(tokenizer.encode_with_offsets(" x").ids, unmarked);
}

TEST(Tokenizer, AnAddedTokenMayBeginInTheSpaceThatAnotherOneTook) {
  const Tokenizer tokenizer = Tokenizer::parse(R"({"model":{"type":"BPE","vocab":{"x":0,"a":1},"merges":[]},
      "added_tokens":[{"id":2,"content":"<t>","rstrip":true},{"id":3,"content":" x"},
                      {"id":4,"content":"\t","lstrip":true}]})");
  EXPECT_EQ(tokenizer.encode("<t> x"), (std::vector<TokenId>{2, 3}));
  EXPECT_EQ(tokenizer.encode("<t>  a x"), (std::vector<TokenId>{2, 1, 3}));
  EXPECT_EQ(tokenizer.encode("<t> \tx\t"), (std::vector<TokenId>{2, 0, 4})) << "nothing is left of the first tab";
}

TEST(TokenizerFile, RefusesWhatItCannotRead) {
  EXPECT_ERROR(Tokenizer::load(kData + "nowhere"), "tokenizer.json: no such file");
  const auto parse = [](const std::string& text) { return Tokenizer::parse(text, "", "t.json"); };
  EXPECT_ERROR(parse(""), "t.json: not readable as JSON");
  EXPECT_ERROR(parse("[]"), "t.json: expected an object");
  EXPECT_ERROR(parse("{}"), "\"model\" is missing");
  EXPECT_ERROR(parse(R"({"model":{"type":"Unigram","vocab":[]}})"), "the model is Unigram");
  EXPECT_ERROR(parse(R"({"model":{"type":"Unigram","vocab":[]}})"), "supported is BPE");
  EXPECT_ERROR(parse(R"({"model":{"type":"WordPiece","vocab":{}}})"), "WordPiece");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})"), "the id of token \"a\"");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}})"), "the id of token \"a\"");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":"b"},"merges":[]}})"), "the id of token \"a\"");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})"), "\"b\" is not in the vocabulary");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}})"), "merge 0");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}})"), "merge 0");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[],"end_of_word_suffix":"</w>"}})"),
               "end_of_word_suffix");
  EXPECT_ERROR(parse(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"?"}})"), "unk_token \"?\"");
  const auto with = [&](const std::string& part) {
    return parse(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},)" + part + "}");
  };
  EXPECT_ERROR(with(R"("normalizer":{"type":"Precompiled"})"), "normalizer Precompiled is not supported");
  EXPECT_ERROR(with(R"("normalizer":5)"), "t.json: normalizer");
  EXPECT_ERROR(with(R"("pre_tokenizer":{"type":"BertPreTokenizer"})"), "BertPreTokenizer is not supported");
  EXPECT_ERROR(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
               "does not compile");
  EXPECT_ERROR(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"[a&&[b]]"},"behavior":"Isolated"})"),
               "set inside a set");
  EXPECT_ERROR(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"})"),
               "unknown split behavior");
  EXPECT_ERROR(with(R"("post_processor":{"type":"Odd"})"), "post-processor Odd");
  EXPECT_ERROR(with(R"("decoder":{"type":"WordPiece"})"), "decoder WordPiece");
  EXPECT_ERROR(with(R"("added_tokens":[{"id":0,"content":"b"}])"), "belongs to \"a\"");
  EXPECT_ERROR(with(R"("added_tokens":[{"id":-5,"content":"b"}])"), "id -5");
  EXPECT_ERROR(with(R"("added_tokens":[{"content":"b"}])"), "id -1");
  EXPECT_ERROR(with(R"("added_tokens":[7])"), "added_tokens");
  EXPECT_ERROR(with(R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}]})"),
               "does not hold x");
}

TEST(TokenizerFile, EveryCutOfAFileIsRefusedCleanly) {
  const std::string text = read_text(kData + "odd/tokenizer.json");
  for (std::size_t size = 0; size + 1 < text.size(); size += 997) {
    EXPECT_THROW(Tokenizer::parse(text.substr(0, size)), Error) << size;
  }
}

TEST(TokenizerFile, ReadsTheConfigurationBesideIt) {
  const std::string model = R"({"model":{"type":"BPE","vocab":{"a":0,"<s>":1,"</s>":2},"merges":[]}})";
  const Tokenizer tokenizer =
      Tokenizer::parse(model, R"({"tokenizer_class":"LlamaTokenizerFast","bos_token":{"content":"<s>"},
      "eos_token":"</s>","add_bos_token":true,"add_eos_token":true,"chat_template":[{"name":"default","template":"x"}]})");
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
  EXPECT_FALSE(tokenizer.pad_id());
  EXPECT_EQ(tokenizer.encode("a", true), (std::vector<TokenId>{1, 0, 2}));
  EXPECT_EQ(tokenizer.encode("<s>a"), (std::vector<TokenId>{1, 0}));
  ASSERT_EQ(tokenizer.chat_templates().size(), 1U);
  EXPECT_EQ(tokenizer.chat_templates()[0].source, "x");
  EXPECT_ERROR(Tokenizer::parse(model, "{\"bos_token\": 5}"), "\"bos_token\" must be a string");
  EXPECT_ERROR(Tokenizer::parse(model, "{\n \"a\": }"), "tokenizer_config.json: line 2, column 7");
}

}  // namespace
}  // namespace primus::tokenizer
