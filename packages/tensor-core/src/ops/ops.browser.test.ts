import "../index.ts";
import "../reference.ts";
import { autogradSuite } from "../testing/op-suite-autograd.ts";
import { gradientSuite } from "../testing/op-suite-gradients.ts";
import { opSuite } from "../testing/op-suite.ts";

// The same suites as under Node, in the page: kernels, threads and gradients do not depend on the host.
opSuite("cpu");
gradientSuite("cpu");
autogradSuite("cpu");
