#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "data/load.h"
#include "tokenizer/tokenizer.h"

/// How fast text becomes tokens.
///     bench_text encode TOKENIZER FILE THREADS [REPEATS]   lines of FILE, all of them in each repeat; a fresh
///     tokenizer bench_text prepare TOKENIZER ROWS CACHE [SEQ] [OURS=THEIRS …]   rows to a token set, as training does
///     it bench_text chats COUNT FILE                          writes synthetic chat rows
namespace primus {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double peak_mib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

int encode(const std::string& folder, const std::string& file, int threads, int repeats) {
  const std::string text = read_text(file);
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(std::string_view(text).substr(at, end - at));
    at = end + 1;
  }
  const auto tokenizer = tokenizer::Tokenizer::load(folder);
  for (int repeat = 0; repeat < repeats; ++repeat) {
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> tokens{0};
    const auto begin = Clock::now();
    const auto work = [&] {
      constexpr std::size_t kBlock = 64;
      std::size_t count = 0;
      for (std::size_t i = next.fetch_add(kBlock); i < lines.size(); i = next.fetch_add(kBlock)) {
        for (std::size_t line = i; line < std::min(i + kBlock, lines.size()); ++line) {
          count += tokenizer.encode(lines[line]).size();
        }
      }
      tokens += count;
    };
    std::vector<std::thread> pool;
    for (int i = 1; i < threads; ++i) pool.emplace_back(work);
    work();
    for (std::thread& thread : pool) thread.join();
    const double seconds = seconds_since(begin);
    std::printf("%d threads, %zu lines, %zu tokens: %.3f s, %.1f MB/s\n", threads, lines.size(), tokens.load(), seconds,
                static_cast<double>(text.size()) * 1e-6 / seconds);
  }
  return 0;
}

int prepare(const std::string& folder, const std::string& rows, const std::string& cache,
            const std::vector<std::string>& more) {
  data::LoadSettings settings{.paths = {rows}, .cache_folder = cache};
  for (const std::string& word : more) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      settings.seq_length = std::atoll(word.c_str());
    } else {
      settings.columns[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  auto begin = Clock::now();
  const auto tokenizer = tokenizer::Tokenizer::load(folder);
  const double opened = seconds_since(begin);
  begin = Clock::now();
  const data::LoadedSet set = data::load_split(data::Split::kTrain, settings, &tokenizer);
  const double loaded = seconds_since(begin);
  std::printf("%s\ntokenizer %.3f s, rows %.3f s (%.0f rows/s, %.1f MB/s of file), peak %.0f MiB\n",
              set.summary.text().c_str(), opened, loaded, static_cast<double>(set.summary.rows_read) / loaded,
              static_cast<double>(std::filesystem::file_size(rows)) * 1e-6 / loaded, peak_mib());
  return 0;
}

/// Two turns of words drawn like those of a language: few are frequent.
int chats(std::int64_t count, const std::string& path) {
  std::vector<std::string> words;
  const Philox random{1, 2};
  std::uint64_t draw = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string word;
    for (std::uint64_t size = 2 + random.below(draw++, 8); size > 0; --size) {
      word += static_cast<char>('a' + random.below(draw++, 26));
    }
    words.push_back(std::move(word));
  }
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) throw host_lacks("{}: cannot create", path);
  const auto say = [&](std::uint64_t length) {
    std::string text;
    for (std::uint64_t i = 0; i < length; ++i) {
      const double u = random.uniform(draw++);
      text += (i > 0 ? " " : "") + words[static_cast<std::size_t>(u * u * u * 20'000)];
    }
    return text;
  };
  for (std::int64_t row = 0; row < count; ++row) {
    std::string line = "{\"messages\": [";
    for (int turn = 0; turn < 2; ++turn) {
      line += R"({"role": "user", "content": ")" + say(5 + random.below(draw++, 20)) + R"("}, )";
      line += R"({"role": "assistant", "content": ")" + say(5 + random.below(draw++, 40)) + R"("})";
      line += turn == 0 ? ", " : "]}\n";
    }
    std::fwrite(line.data(), 1, line.size(), file);
  }
  std::fclose(file);
  return 0;
}

int run(const std::vector<std::string>& words) {
  const auto is = [&](const char* name, std::size_t least) { return words.size() > least && words[0] == name; };
  if (is("encode", 3)) {
    return encode(words[1], words[2], std::atoi(words[3].c_str()), words.size() > 4 ? std::atoi(words[4].c_str()) : 1);
  }
  if (is("prepare", 3)) return prepare(words[1], words[2], words[3], {words.begin() + 4, words.end()});
  if (is("chats", 2)) return chats(std::atoll(words[1].c_str()), words[2]);
  std::fprintf(stderr, "bench_text encode|prepare|chats …: see the head of bench_text.cpp\n");
  return 2;
}

}  // namespace
}  // namespace primus

int main(int argc, char** argv) {
  try {
    return primus::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
