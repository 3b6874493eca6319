// Two clips and the cosine of their embeddings, by onnxruntime's C API and a model.onnx of mvector.
//
//   g++ -O2 -std=c++17 onnxruntime_contrast.cc -I ORT/include -L ORT/lib -lonnxruntime -o contrast
//   ./contrast model.onnx a.wav b.wav        (wav of 16 bits, mono, at the model's rate)
//
// ORT is a release of onnxruntime, as it is unpacked. Level, features and network are in the file.
#include <onnxruntime_c_api.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

static const OrtApi *ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);

static void check(OrtStatus *status) {
  if (status == nullptr) return;
  std::fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
  std::exit(2);
}

static std::vector<float> read_wav(const char *path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  for (size_t at = 12; at + 8 <= bytes.size();) {  // chunks: a name, a size, the content
    uint32_t size;
    std::memcpy(&size, &bytes[at + 4], 4);
    if (std::memcmp(&bytes[at], "data", 4) == 0 && at + 8 + size <= bytes.size()) {
      std::vector<int16_t> samples(size / 2);
      std::memcpy(samples.data(), &bytes[at + 8], 2 * samples.size());
      std::vector<float> waveform(samples.begin(), samples.end());
      for (float &sample : waveform) sample /= 32768.0f;
      return waveform;
    }
    at += 8 + size_t{size} + size % 2;
  }
  std::fprintf(stderr, "%s is no wav file\n", path);
  std::exit(2);
}

static std::vector<float> embed(OrtSession *session, std::vector<float> waveform) {
  int64_t num_samples = static_cast<int64_t>(waveform.size());
  const int64_t shape[] = {1, num_samples}, one[] = {1};
  OrtMemoryInfo *memory;
  check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  OrtValue *given[2] = {nullptr, nullptr}, *embedding = nullptr;
  check(ort->CreateTensorWithDataAsOrtValue(memory, waveform.data(), 4 * waveform.size(), shape, 2,
                                            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &given[0]));
  check(ort->CreateTensorWithDataAsOrtValue(memory, &num_samples, sizeof num_samples, one, 1,
                                            ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &given[1]));
  const char *inputs[] = {"waveform", "num_samples"}, *outputs[] = {"embedding"};
  check(ort->Run(session, nullptr, inputs, given, 2, outputs, 1, &embedding));
  OrtTensorTypeAndShapeInfo *info;
  check(ort->GetTensorTypeAndShape(embedding, &info));
  size_t size;
  check(ort->GetTensorShapeElementCount(info, &size));
  float *values;
  check(ort->GetTensorMutableData(embedding, reinterpret_cast<void **>(&values)));
  std::vector<float> result(values, values + size);
  ort->ReleaseTensorTypeAndShapeInfo(info);
  for (OrtValue *value : {given[0], given[1], embedding}) ort->ReleaseValue(value);
  ort->ReleaseMemoryInfo(memory);
  return result;
}

int main(int argc, char **argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: contrast MODEL.onnx A.wav B.wav\n"), 2;
  OrtEnv *environment;
  OrtSessionOptions *options;
  OrtSession *session;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "contrast", &environment));
  check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, 1));
  check(ort->CreateSession(environment, argv[1], options, &session));
  std::vector<float> a = embed(session, read_wav(argv[2])), b = embed(session, read_wav(argv[3]));
  double product = 0, of_a = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += a[i] * b[i], of_a += a[i] * a[i], of_b += b[i] * b[i];
  }
  std::printf("%.4f\n", product / std::sqrt(of_a * of_b));
}
