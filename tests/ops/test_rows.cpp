#include "ops/embedding.h"
#include "ops/loss.h"
#include "support.h"

namespace primus::test {
namespace {

PRIMUS_OP_TEST(RowMoves);

TEST_P(RowMoves, EmbeddingForward) {
  for (const std::int64_t gap : kGapUnits) {
    const std::int64_t hidden = gap == 1 ? 37 : 40;
    const Matrix table = random_matrix(19, hidden, dtype(), 1);
    const std::vector<std::int32_t> ids = {3, 18, 0, 3, 7, 7, 11};
    const DeviceData table_data = matrix(table), out = matrix(filled(7, hidden, 9.0), 3 * gap),
                     id_data = DeviceData::integers(stream(), ids);
    ops::embedding_forward(stream(), {id_data, table_data, out});
    const Matrix actual = out.download();
    for (std::int64_t t = 0; t < 7; ++t) {
      for (std::int64_t j = 0; j < hidden; ++j) EXPECT_EQ(actual(t, j), table(ids[static_cast<std::size_t>(t)], j));
    }
  }
}

TEST_P(RowMoves, EmbeddingBackwardAddsInOrder) {
  for (const DType target : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t gap : kGapUnits) {
      const std::int64_t tokens = 700, hidden = gap == 1 ? 201 : 208, vocabulary = 300;
      const Matrix d_out = random_matrix(tokens, hidden, dtype(), 1),
                   before = random_matrix(vocabulary, hidden, target, 2);
      std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
      for (std::int32_t t = 0; t < tokens; ++t) {
        ids[static_cast<std::size_t>(t)] = (t * t + t / 3) % (t < 400 ? 17 : 290);
      }
      const DeviceData d_out_data = matrix(d_out, 2 * gap), id_data = DeviceData::integers(stream(), ids);
      Matrix expected = before;
      for (std::int64_t t = 0; t < tokens; ++t) {  // every addition rounded, in order: equal to the bit
        for (std::int64_t j = 0; j < hidden; ++j) {
          double& sum = expected(ids[static_cast<std::size_t>(t)], j);
          sum = rounded(static_cast<double>(static_cast<float>(sum) + static_cast<float>(d_out(t, j))), target);
        }
      }
      const DeviceData d_table(stream(), target, before);
      ops::embedding_backward(stream(), {id_data, d_out_data, d_table});
      EXPECT_EQ(d_table.download().values, expected.values);
      expect_same_for_any_threads([&] {
        const DeviceData again(stream(), target, before);
        ops::embedding_backward(stream(), {id_data, d_out_data, again});
        return again.download_bytes();
      });
    }
  }
}

TEST_P(RowMoves, GatherAndScatter) {
  for (const std::int64_t gap : kGapUnits) {
    const std::int64_t hidden = gap == 1 ? 61 : 64;
    const Matrix x = random_matrix(400, hidden, dtype(), 1);
    std::vector<std::int32_t> index;
    for (std::int32_t t = 1; t < 400; t += 1 + t % 5) index.push_back(t);
    const auto count = static_cast<std::int64_t>(index.size());
    const DeviceData x_data = matrix(x, 2 * gap), index_data = DeviceData::integers(stream(), index),
                     rows = matrix(filled(count, hidden, 9.0), gap), back = matrix(filled(400, hidden, 9.0), 3 * gap);
    ops::gather_rows(stream(), {x_data, index_data, rows});
    ops::scatter_rows(stream(), {rows, index_data, back});
    const Matrix gathered = rows.download(), scattered = back.download();
    Matrix expected(400, hidden);
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t j = 0; j < hidden; ++j) {
        EXPECT_EQ(gathered(i, j), x(index[static_cast<std::size_t>(i)], j));
        expected(index[static_cast<std::size_t>(i)], j) = gathered(i, j);
      }
    }
    EXPECT_EQ(scattered.values, expected.values);
  }
}

TEST_P(RowMoves, ScatterOfNothingIsZero) {
  const DeviceData x = matrix(Matrix(0, 5)), index = DeviceData::integers(stream(), {}),
                   out = matrix(filled(7, 5, 9.0));
  ops::scatter_rows(stream(), {x, index, out});
  EXPECT_EQ(out.download().values, filled(7, 5, 0.0).values);
}

}  // namespace
}  // namespace primus::test
