import { describe, expect, it } from "vitest";
import { KeptMessages, type KeptMessage } from "./kept-messages.ts";

const message = (position: number, tokens: number, changes: Partial<KeptMessage> = {}): KeptMessage => ({
  position, tokens, payload: new Uint8Array(10 * tokens), elements: 0, flags: 0, sequence: 1, isAcknowledged: true, ...changes,
});
const positions = ({ all }: KeptMessages): number[] => all.map(({ position }) => position);

describe("KeptMessages", () => {
  it("forgets what begins where the stream goes back to, not what reaches over it", () => {
    const kept = new KeptMessages(1000);
    for (const each of [message(0, 4), message(4, 4), message(8, 1)]) kept.push(each);
    kept.truncate(6);
    expect(positions(kept)).toEqual([0, 4]);
    expect(kept.byteLength).toBe(80);
    kept.push(message(6, 2));
    kept.truncate(4);
    expect([positions(kept), kept.isWhole]).toEqual([[0], true]);
  });

  it("lets go of what is acknowledged beyond its bytes, and is whole again from the beginning", () => {
    const kept = new KeptMessages(50);
    const waiting = message(4, 2, { isAcknowledged: false });
    kept.push(message(0, 4));
    kept.push(waiting);
    expect([positions(kept), kept.isWhole]).toEqual([[4], false]);
    waiting.isAcknowledged = true;
    kept.acknowledged();
    expect([kept.all.length, kept.byteLength]).toEqual([0, 0]);
    expect(() => kept.truncate(3)).not.toThrow();
    expect(kept.isWhole).toBe(false);
    expect([kept.fork(2).isWhole, kept.fork(0).isWhole]).toEqual([false, true]);
    kept.truncate(0);
    expect(kept.isWhole).toBe(true);
  });

  it("forks what its first tokens were made from", () => {
    const kept = new KeptMessages(1000);
    for (const each of [message(0, 4), message(4, 4), message(8, 1), message(9, 1, { isAcknowledged: false })]) kept.push(each);
    const fork = kept.fork(5);
    expect(positions(fork)).toEqual([0, 4]);
    expect(fork.all.every(({ sequence }) => sequence === 0)).toBe(true);
    expect(positions(kept.fork(10))).toEqual([0, 4, 8]);
  });
});
