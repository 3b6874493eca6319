// Two clips and the cosine of their embeddings, by sherpa-onnx and a file that was exported for it.
//
//   g++ -O2 -std=c++17 sherpa_onnx_contrast.cc -I SHERPA/include -L SHERPA/lib
//       -lsherpa-onnx-c-api -lonnxruntime -Wl,-rpath,SHERPA/lib -o contrast      (one line)
//   ./contrast for_sherpa.onnx a.wav b.wav   (wav of 16 bits, mono, of any rate)
//
// SHERPA is a release of sherpa-onnx, as it is unpacked, or the folder of its Python package.
#include <sherpa-onnx/c-api/c-api.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

static std::vector<float> embed(const SherpaOnnxSpeakerEmbeddingExtractor *extractor,
                                const char *path) {
  const SherpaOnnxWave *wave = SherpaOnnxReadWave(path);
  if (wave == nullptr) std::exit(2);
  auto *stream = SherpaOnnxSpeakerEmbeddingExtractorCreateStream(extractor);
  SherpaOnnxOnlineStreamAcceptWaveform(stream, wave->sample_rate, wave->samples, wave->num_samples);
  SherpaOnnxOnlineStreamInputFinished(stream);
  if (!SherpaOnnxSpeakerEmbeddingExtractorIsReady(extractor, stream)) std::exit(2);
  const float *values =
      SherpaOnnxSpeakerEmbeddingExtractorComputeEmbedding(extractor, stream);
  std::vector<float> result(values, values + SherpaOnnxSpeakerEmbeddingExtractorDim(extractor));
  SherpaOnnxSpeakerEmbeddingExtractorDestroyEmbedding(values);
  SherpaOnnxDestroyOnlineStream(stream);
  SherpaOnnxFreeWave(wave);
  return result;
}

int main(int argc, char **argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: contrast MODEL.onnx A.wav B.wav\n"), 2;
  const SherpaOnnxSpeakerEmbeddingExtractorConfig config{argv[1], 1, 0, "cpu"};
  auto *extractor = SherpaOnnxCreateSpeakerEmbeddingExtractor(&config);
  if (extractor == nullptr) return 2;
  std::vector<float> a = embed(extractor, argv[2]), b = embed(extractor, argv[3]);
  SherpaOnnxDestroySpeakerEmbeddingExtractor(extractor);
  double product = 0, of_a = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += a[i] * b[i], of_a += a[i] * a[i], of_b += b[i] * b[i];
  }
  std::printf("%.4f\n", product / std::sqrt(of_a * of_b));
}
