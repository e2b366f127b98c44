import { test } from "node:test";
import { hasCapability } from "#kernel";
import { mounterContract } from "./mounter.contract.ts";

if (hasCapability("CAP_SYS_ADMIN")) {
  mounterContract("erofs");
  mounterContract("directory");
} else test("mounters", { skip: "mounting needs CAP_SYS_ADMIN" }, () => undefined);
