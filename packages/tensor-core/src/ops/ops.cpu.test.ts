import "../index.ts";
import { opSuite } from "../testing/op-suite.ts";

opSuite("cpu");
