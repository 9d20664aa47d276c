export async function prepareOnnxGeneration(..._: unknown[]): Promise<undefined> { return undefined; }
