import { registerBackend } from "../backend/registry.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import "./install-methods.ts";
import { elementwiseSuite } from "../testing/op-suite-elementwise.ts";
registerBackend("reference", createReferenceBackend);
elementwiseSuite("reference");
