// The sources are ESM for Node and browsers; size-limit's default output format has no import.meta.
const modifyEsbuildConfig = (config) => ({ ...config, format: "esm" });

// @frugal/mecefo is not here: it is for Node alone, where nobody downloads it with a page.
export default [
  {
    name: "@frugal/tensor-core: tensors with all their methods, products, gradients, and all kernels",
    path: "packages/tensor-core/dist/index.js",
    import: "{ grad, linear, matmul, scope, softmax, tensor, tidy, valueAndGrad, zeros }",
    gzip: true,
    limit: "62.5 kB",
    ignore: ["koffi"],
    modifyEsbuildConfig,
  },
  {
    name: "@frugal/tensor-core, everything in the main entry",
    path: "packages/tensor-core/dist/index.js",
    gzip: true,
    limit: "77 kB",
    ignore: ["koffi"],
    modifyEsbuildConfig,
  },
  {
    name: "@frugal/tensor-core on WebGPU: the first program again with all kernels of both devices, and the validation of own ones",
    path: ["packages/tensor-core/dist/index.js", "packages/tensor-core/dist/webgpu.js"],
    import: {
      "packages/tensor-core/dist/index.js": "{ grad, linear, matmul, scope, softmax, tensor, tidy, valueAndGrad, zeros }",
      "packages/tensor-core/dist/webgpu.js": "{ webgpu }",
    },
    gzip: true,
    limit: "168 kB",
    ignore: ["koffi"],
    modifyEsbuildConfig,
  },
  {
    name: "@frugal/language-model with zod, without tensor-core and tokenizer data",
    path: "packages/language-model/dist/index.js",
    gzip: true,
    limit: "150 kB",
    ignore: ["@frugal/tensor-core", "llama-tokenizer-js"],
    modifyEsbuildConfig,
  },
  {
    name: "@frugal/fourier-compress for a page: the client with all codecs and zod, without tensor-core and language-model",
    path: "packages/fourier-compress/dist/index.js",
    import: "{ createCodec, parseCodecTable, SplitClient, webSocketTransport }",
    gzip: true,
    limit: "134 kB",
    ignore: ["@frugal/tensor-core", "@frugal/language-model"],
    modifyEsbuildConfig,
  },
  {
    name: "@frugal/fourier-compress, everything in the main entry, without tensor-core and language-model",
    path: "packages/fourier-compress/dist/index.js",
    gzip: true,
    limit: "153 kB",
    ignore: ["@frugal/tensor-core", "@frugal/language-model"],
    modifyEsbuildConfig,
  },
];
