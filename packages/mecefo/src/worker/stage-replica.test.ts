import { memory } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { StateTransferError } from "../errors.ts";
import { decodeState, encodeState, parseStateHeader } from "./state-encoding.ts";
import type { ParameterState } from "./stage-state.ts";
import { copyState, tinyReplica, update } from "./state.testing.ts";

describe("StageReplica", () => {
  it("becomes another's equal, weights, moments and counts, and stays it", async () => {
    const before = memory().allocations;
    const [donor, receiver] = [tinyReplica(), tinyReplica()];
    expect(await receiver.hash()).toBe(await donor.hash());
    for (let i = 0; i < 4; i++) update(donor, i, i === 2 ? [1, 3] : []);
    donor.skip();
    expect(await receiver.hash()).not.toBe(await donor.hash());
    receiver.load(decodeState(...Object.values(encodeState(await donor.state())) as Parameters<typeof decodeState>));
    expect(receiver.step).toBe(5);
    expect(await receiver.hash()).toBe(await donor.hash());
    expect(await receiver.state()).toEqual(await donor.state());
    for (const replica of [donor, receiver]) update(replica, 9, [0]);
    expect(await receiver.hash()).toBe(await donor.hash());
    const { parameters } = await receiver.state();
    expect(parameters.map(({ steps }) => steps).slice(0, 4)).toEqual([4, 4, 5, 4]);
    for (const replica of [donor, receiver]) replica.dispose();
    expect(memory().allocations).toBe(before);
  });

  it("leaves parameters without a gradient alone, their moments too", async () => {
    const replica = tinyReplica();
    update(replica, 1);
    const [one] = [(await replica.state()).parameters];
    update(replica, 2, [2]);
    const { parameters: two } = await replica.state();
    two.forEach((parameter, i) => {
      if (i === 2) expect(parameter).toEqual(one[i]);
      else expect(parameter.weight).not.toEqual(one[i]!.weight);
    });
    replica.dispose();
  });

  it("has another hash when any bit is another, of weights or moments, or a count", async () => {
    const replica = tinyReplica(1);
    update(replica, 1);
    const state = await replica.state();
    const hash = await replica.hash();
    const changed = async (change: (copy: ReturnType<typeof copyState>) => void): Promise<string> => {
      const copy = copyState(state);
      change(copy);
      replica.load(copy);
      return await replica.hash();
    };
    const hashes = [hash];
    for (const index of [0, state.parameters.length - 1]) {
      for (const name of ["weight", "firstMoment", "secondMoment"] as const) {
        hashes.push(await changed(({ parameters }) => {
          const values = parameters[index]![name];
          new Uint32Array(values.buffer, values.byteOffset + 4 * (values.length - 1), 1)[0]! ^= 1;
        }));
      }
      hashes.push(await changed(({ parameters }) => {
        (parameters[index] as { steps: number }).steps++;
      }));
    }
    hashes.push(await changed((copy) => {
      (copy as { step: number }).step++;
    }));
    expect(new Set(hashes).size).toBe(hashes.length);
    expect(await changed(() => {})).toBe(hash);
    replica.dispose();
  });

  it("refuses what is not its own, and stays as it is", async () => {
    const [replica, other] = [tinyReplica(0), tinyReplica(1)];
    const hash = await replica.hash();
    const state = await replica.state();
    const first = state.parameters[0]!;
    const withFirst = (change: Partial<ParameterState>): ParameterState[] => [{ ...first, ...change }, ...state.parameters.slice(1)];
    const wrong: ParameterState[][] = [
      [...(await other.state()).parameters],
      state.parameters.slice(1),
      withFirst({ name: "model.layers.9.mlp.down_proj.weight" }),
      withFirst({ shape: first.shape.toReversed() }),
      withFirst({ secondMoment: first.secondMoment.slice(1) }),
      [state.parameters[1]!, first, ...state.parameters.slice(2)],
    ];
    for (const parameters of wrong) expect(() => replica.load({ step: 3, parameters })).toThrow(StateTransferError);
    expect(await replica.hash()).toBe(hash);
    for (const each of [replica, other]) each.dispose();
  });
});

describe("state encoding", () => {
  it("finds changed bytes, and descriptions that do not fit them", async () => {
    const replica = tinyReplica();
    const { header, bytes } = encodeState(await replica.state());
    expect(parseStateHeader(new TextEncoder().encode(JSON.stringify(header)))).toEqual(header);
    const flipped = bytes.slice();
    flipped[1000]! ^= 4;
    expect(() => decodeState(header, flipped)).toThrow(/checksum/);
    expect(() => decodeState(header, bytes.slice(12))).toThrow(StateTransferError);
    const [first, ...others] = header.parameters;
    for (const shape of [[1 << 30, 1 << 30], [0], [first!.shape[0]! + 1, first!.shape[1]!], new Array<number>(8).fill(2 ** 52)]) {
      expect(() => decodeState({ ...header, parameters: [{ ...first!, shape }, ...others] }, bytes)).toThrow(/are described/);
    }
    replica.dispose();
  });

  it("refuses descriptions that are none", () => {
    const hostile = [
      "", "null", "[]", "{", "{}", JSON.stringify({ stage: 0, step: 0, byteLength: -1, checksum: 0, parameters: [] }),
      JSON.stringify({ stage: 0, step: 0.5, byteLength: 0, checksum: 0, parameters: [] }),
      JSON.stringify({ stage: 0, step: 0, byteLength: 0, checksum: 0, parameters: [{ name: "x".repeat(300), shape: [], steps: 0 }] }),
      JSON.stringify({ stage: 0, step: 0, byteLength: 0, checksum: 0, parameters: [{ name: "x", shape: [1, 1, 1, 1, 1, 1, 1, 1, 1], steps: 0 }] }),
    ];
    for (const text of hostile) expect(() => parseStateHeader(new TextEncoder().encode(text))).toThrow(StateTransferError);
    expect(() => parseStateHeader(Uint8Array.of(0xff, 0xfe, 0x7b))).toThrow(StateTransferError);
  });
});
