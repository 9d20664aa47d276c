export * from "./gemm";
export * from "./quant";
export * from "./elementwise";
export * from "./rows";
export * from "./attention";
export * from "./scan";
export * from "./fft";
export * from "./optim";
