import type { CompileMessage } from "../../../validation/errors.ts";
import type { PipelineRecord } from "../pipelines.ts";

/** What the compiler says of a shader, in lines of the code that its author wrote. */
export async function compileMessages(device: GPUDevice, record: PipelineRecord): Promise<readonly CompileMessage[]> {
  // The error of a shader that does not compile belongs to nothing else that is recorded.
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: record.label, code: record.shader });
  void device.popErrorScope().catch(() => null);
  const { messages } = await module.getCompilationInfo();
  const lines = record.shader.split("\n");
  const before = declarationLines(record, lines);
  return messages.map(({ type, message, lineNum, linePos }) => ({
    type,
    message,
    line: Math.max(0, lineNum - before),
    column: linePos,
    source: lines[lineNum - 1] ?? "",
  }));
}

/** Lines put before the code: extensions, the uniform block with its declaration, and one line an array. */
function declarationLines({ layout }: PipelineRecord, lines: readonly string[]): number {
  return lines.findIndex((line) => line.startsWith("struct Uniforms")) + 2 + layout.length;
}

/** Messages as text, with the lines they speak of. */
export function formatMessages(messages: readonly CompileMessage[]): string {
  const texts = messages.map(({ type, message, line, column, source }) => `${line}:${column} ${type}: ${message}\n    ${source.trim()}`);
  return texts.join("\n");
}
