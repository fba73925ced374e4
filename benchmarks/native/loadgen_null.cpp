// LoadGen's own library with a system under test that completes in the issuing call.
// usage: loadgen_null SCENARIO RATE SECONDS FOLDER
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "loadgen.h"
#include "query_sample_library.h"
#include "system_under_test.h"
#include "test_settings.h"

namespace {

class Null final : public mlperf::SystemUnderTest {
  public:
    const std::string& Name() override { return name_; }
    void IssueQuery(const std::vector<mlperf::QuerySample>& samples) override {
        for (const auto& sample : samples) {
            mlperf::QuerySampleResponse response{sample.id, 0, 0};
            mlperf::QuerySamplesComplete(&response, 1);
        }
    }
    void FlushQueries() override {}

  private:
    std::string name_ = "null";
};

class Samples final : public mlperf::QuerySampleLibrary {
  public:
    const std::string& Name() override { return name_; }
    size_t TotalSampleCount() override { return 1024; }
    size_t PerformanceSampleCount() override { return 1024; }
    void LoadSamplesToRam(const std::vector<mlperf::QuerySampleIndex>&) override {}
    void UnloadSamplesFromRam(const std::vector<mlperf::QuerySampleIndex>&) override {}

  private:
    std::string name_ = "samples";
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    mlperf::TestSettings settings;
    settings.scenario = std::string(argv[1]) == "Server" ? mlperf::TestScenario::Server
                                                         : mlperf::TestScenario::SingleStream;
    settings.mode = mlperf::TestMode::PerformanceOnly;
    settings.server_target_qps = std::atof(argv[2]);
    settings.server_target_latency_ns = 1'000'000'000;
    settings.single_stream_expected_latency_ns = 1000;
    settings.min_duration_ms = static_cast<std::uint64_t>(1e3 * std::atof(argv[3]));
    settings.min_query_count = 100;
    mlperf::LogSettings log;
    log.log_output.outdir = argv[4];
    log.enable_trace = false;
    Null sut;
    Samples samples;
    mlperf::StartTest(&sut, &samples, settings, log, "");
}
