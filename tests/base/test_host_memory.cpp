#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/host_memory.h"

namespace primus {
namespace {

namespace fs = std::filesystem;

/// A root folder with the files that a test puts there.
class HostMemoryTest : public testing::Test {
 protected:
  HostMemoryTest() : root_(fs::path(testing::TempDir()) / ("host_memory." + std::to_string(::getpid()))) {
    fs::create_directories(root_);
  }
  ~HostMemoryTest() override { fs::remove_all(root_); }

  void put(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void put_meminfo() const {
    put("proc/meminfo",
        "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    800 kB\nHugePages_Total:       0\n");
  }

  fs::path root_;
};

TEST_F(HostMemoryTest, WithoutProcNothingIsKnownAndNothingLimited) {
  const HostMemory memory = host_memory(root_);
  EXPECT_EQ(memory.total, HostMemory::kUnknown);
  EXPECT_EQ(memory.free, HostMemory::kUnknown);
  EXPECT_FALSE(memory.limited_by_group);
}

TEST_F(HostMemoryTest, ReadsMeminfo) {
  put_meminfo();
  put("proc/self/cgroup", "0::/user.slice\n");
  put("sys/fs/cgroup/user.slice/memory.max", "max\n");
  put("sys/fs/cgroup/user.slice/memory.current", "123456\n");
  const HostMemory memory = host_memory(root_);
  EXPECT_EQ(memory.total, 1000U * 1024);
  EXPECT_EQ(memory.free, 800U * 1024);
  EXPECT_FALSE(memory.limited_by_group);
}

TEST_F(HostMemoryTest, TakesTheTightestLimitOfTheGroupsAround) {
  put_meminfo();
  put("proc/self/cgroup", "0::/job/step\n");
  put("sys/fs/cgroup/job/step/memory.max", "700000\n");
  put("sys/fs/cgroup/job/step/memory.current", "100000\n");
  put("sys/fs/cgroup/job/memory.max", "500000\n");
  put("sys/fs/cgroup/job/memory.current", "300000\n");
  put("sys/fs/cgroup/job/memory.stat", "anon 220000\nfile 80000\ninactive_file 50000\nactive_file 10000\n");
  const HostMemory memory = host_memory(root_);
  EXPECT_EQ(memory.total, 500000U);
  EXPECT_EQ(memory.free, 260000U) << "the limit, less what is used and not of files";
  EXPECT_TRUE(memory.limited_by_group);
}

TEST_F(HostMemoryTest, ReadsAContainersOwnGroupOfVersion1) {
  put_meminfo();
  // the host's path, while the container's group is what is mounted
  put("proc/self/cgroup", "9:name=systemd:/docker/ab\n4:cpu,memory:/docker/ab\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "400000\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "390000\n");
  put("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 20000\ntotal_active_file 10000\n");
  EXPECT_EQ(host_memory(root_).free, 40000U);
}

TEST_F(HostMemoryTest, AGroupBeyondItsLimitHasNothingFree) {
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "1000\n");
  put("sys/fs/cgroup/memory.current", "1200\n");
  EXPECT_EQ(host_memory(root_).free, 0U);
}

TEST(HostMemory, ThisMachineHasSome) {
  const HostMemory memory = host_memory();
  EXPECT_GT(memory.free, std::size_t{1} << 20);
  EXPECT_LE(memory.free, memory.total);
}

}  // namespace
}  // namespace primus
