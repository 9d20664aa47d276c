import { expect, it } from "vitest";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { registerBackend } from "../backend/registry.ts";
import { opSuite, testedOperations } from "../testing/op-suite.ts";
import * as attention from "./attention.ts";
import * as binary from "./binary.ts";
import * as compare from "./compare.ts";
import * as creation from "./creation.ts";
import * as einsum from "./einsum.ts";
import * as fourier from "./fourier.ts";
import * as indexing from "./indexing.ts";
import "./install-methods.ts";
import * as join from "./join.ts";
import * as loss from "./loss.ts";
import * as materialize from "./materialize.ts";
import * as matmul from "./matmul.ts";
import * as normalization from "./normalization.ts";
import * as quantize from "./quantize.ts";
import * as reduce from "./reduce.ts";
import * as sequence from "./sequence.ts";
import * as triangle from "./triangle.ts";
import * as unary from "./unary.ts";
import * as views from "./views.ts";

registerBackend("reference", createReferenceBackend);
opSuite("reference");

it("covers every operation", () => {
  const families = [
    attention,
    binary,
    compare,
    creation,
    einsum,
    fourier,
    indexing,
    join,
    loss,
    materialize,
    matmul,
    normalization,
    quantize,
    reduce,
    sequence,
    triangle,
    unary,
    views,
  ];
  const internal = ["fillLike", "prepare", "disjointSlices", "share", "asContiguous", "asDtype"];
  const operations = families.flatMap((family) => Object.keys(family)).filter((name) => !internal.includes(name));
  expect(operations.filter((name) => !testedOperations.has(name))).toEqual([]);
});
