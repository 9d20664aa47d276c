/** The flags of WebGPU by name: in Node the globals `GPUBufferUsage` and `GPUMapMode` do not exist. */
export const bufferUsage = { mapRead: 1, copySource: 4, copyDestination: 8, uniform: 64, storage: 128, queryResolve: 512 } as const;

export const mapModeRead = 1;
export const shaderStageCompute = 4;
