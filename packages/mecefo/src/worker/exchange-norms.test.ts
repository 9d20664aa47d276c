import { expect, it } from "vitest";
import { EpochEndedError, LinkError, StateTransferError } from "../errors.ts";
import { createMemoryTransport, MemoryHub } from "../transport/memory-transport.ts";
import { testNode, type TestNode } from "../transport/transport.testing.ts";
import type { EpochPlan } from "./epoch-plan.ts";
import { exchangeNorms } from "./exchange-norms.ts";

function cluster(stages: number): { nodes: TestNode[]; plans: EpochPlan[] } {
  const hub = new MemoryHub();
  const nodes = Array.from({ length: stages }, (_, i) => testNode(`n${i}`, createMemoryTransport({ hub, id: `n${i}`, linkTimeout: 200 })));
  for (const node of nodes) node.beginEpoch(1, nodes.filter((other) => other !== node));
  const plans = nodes.map((_, own) => ({
    epoch: 1, member: { slot: { pipeline: 0, stage: own } },
    pipelinePeers: nodes.flatMap(({ peer }, stage) => (stage === own ? [] : [{ stage, peer }])),
  }) as unknown as EpochPlan);
  return { nodes, plans };
}

it("adds the stages' norms up in their order, the same everywhere", async () => {
  const { nodes, plans } = cluster(4);
  const norms = [1e16, 1, -0, 1e-3];
  const expected = norms.reduce((sum, norm) => sum + norm, 0);
  const sums = await Promise.all(nodes.map((node, stage) => exchangeNorms(plans[stage]!, 5, [{ stage, squaredNorm: norms[stage]! }], 4, node)));
  expect(sums).toEqual([expected, expected, expected, expected]);
  for (const node of nodes) await node.close();
});

it("gives null to all when one stage's is not finite", async () => {
  const { nodes, plans } = cluster(3);
  const sums = await Promise.all(nodes.map((node, stage) => exchangeNorms(plans[stage]!, 5, [{ stage, squaredNorm: stage === 1 ? null : 2 }], 3, node)));
  expect(sums).toEqual([null, null, null]);
  for (const node of nodes) await node.close();
});

it("ends when a peer is gone, sends something else, or the epoch is over", async () => {
  const { nodes: [one, two, three], plans } = cluster(3) as { nodes: [TestNode, TestNode, TestNode]; plans: EpochPlan[] };
  const votes = [{ stage: 0, squaredNorm: 1 }];
  const tag = { kind: "reduce" as const, epoch: 1, channel: 4, sequence: 1 };
  await two.send(one, { ...tag, step: 1 }, new Uint8Array(3));
  await expect(exchangeNorms(plans[0]!, 1, votes, 3, one)).rejects.toThrow(StateTransferError);
  await three.close();
  await expect(exchangeNorms(plans[0]!, 2, votes, 3, one)).rejects.toThrow(LinkError);
  one.mailbox.endEpoch(1);
  await expect(exchangeNorms(plans[0]!, 3, votes, 3, one)).rejects.toThrow(EpochEndedError);
  for (const node of [one, two]) await node.close();
});
