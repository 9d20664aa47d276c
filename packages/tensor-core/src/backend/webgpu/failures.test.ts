import { describe, expect, it } from "vitest";
import { OutOfMemoryError } from "../../errors.ts";
import { GpuCommandError } from "./errors.ts";
import { FailureTracker, type BatchOutput, type RecordedCommand } from "./failures.ts";

const array = (): BatchOutput => ({ failure: undefined });
const command = (access: string, ...arrays: readonly BatchOutput[]): RecordedCommand => ({ access, arrays });

describe("FailureTracker", () => {
  function track(tracker: FailureTracker, commands: readonly RecordedCommand[], error?: Error): Promise<void> {
    return tracker.track({ commands, verdicts: [], error: Promise.resolve(error) });
  }

  it("marks what a failed batch writes, and nothing that it only reads", async () => {
    const [input, output, other] = [array(), array(), array()];
    const error = new GpuCommandError("refused");
    const tracker = new FailureTracker();
    await track(tracker, [command("rw", input, output), command("rw", input, other)], error);
    expect([input.failure, output.failure, other.failure]).toEqual([undefined, error, error]);
  });

  it("follows what later commands compute from it, command by command", async () => {
    const [input, broken, derived, further, independent] = [array(), array(), array(), array(), array()];
    const error = new GpuCommandError("refused");
    const tracker = new FailureTracker();
    void track(tracker, [command("rw", input, broken)], error);
    await track(tracker, [command("rw", input, independent), command("rrw", broken, input, derived), command("rw", derived, further)]);
    expect([derived.failure, further.failure, independent.failure, input.failure]).toEqual([error, error, undefined, undefined]);
  });

  it("keeps what was computed before a failure", async () => {
    const [x, y] = [array(), array()];
    const tracker = new FailureTracker();
    void track(tracker, [command("rw", x, y)]);
    await track(tracker, [command("w", x)], new GpuCommandError("refused"));
    expect(y.failure).toBe(undefined);
  });

  it("names the refused resource instead of what followed from it", async () => {
    const memory = new OutOfMemoryError("no memory");
    const [missing, output] = [{ failure: memory }, array()];
    const tracker = new FailureTracker();
    await track(tracker, [command("w", output), command("rw", missing, array())], new GpuCommandError("invalid buffer"));
    expect(output.failure).toBe(memory);
  });

  it("waits for verdicts before it judges", async () => {
    const pipeline: { failure: Error | undefined } = { failure: undefined };
    const error = new GpuCommandError("does not compile");
    const output = array();
    const tracker = new FailureTracker();
    const verdict = new Promise<void>((resolve) => {
      setTimeout(() => {
        pipeline.failure = error;
        resolve();
      }, 5);
    });
    const commands = [{ access: "w", arrays: [output], pipeline }];
    await tracker.track({ commands, verdicts: [verdict], error: Promise.resolve(undefined) });
    expect(output.failure).toBe(error);
  });

  it("lets the host write over a failure, as a whole only, and in order", async () => {
    const [whole, part, later] = [array(), array(), array()];
    const error = new GpuCommandError("refused");
    const tracker = new FailureTracker();
    void track(tracker, [command("w", whole), command("w", part), command("w", later)], error);
    await track(tracker, [command("W", whole), command("P", part)]);
    expect([whole.failure, part.failure, later.failure]).toEqual([undefined, error, error]);
  });

  it("believes a write from the host but when memory ran out", async () => {
    const [first, second] = [array(), array()];
    const tracker = new FailureTracker();
    await track(tracker, [command("W", first)], new GpuCommandError("another command"));
    expect(first.failure).toBe(undefined);
    const memory = new OutOfMemoryError("no memory");
    await track(tracker, [command("W", second)], memory);
    expect(second.failure).toBe(memory);
  });

  it("remembers errors until somebody is told", async () => {
    const tracker = new FailureTracker();
    const [told, silent] = [new GpuCommandError("told"), new GpuCommandError("silent")];
    void track(tracker, [command("w", array())], told);
    await track(tracker, [command("w", array())], silent);
    tracker.forget(told);
    expect(tracker.takeUnreported()).toBe(silent);
    expect(tracker.takeUnreported()).toBe(undefined);
  });
});
