import { fakeKernel, linuxKernel } from "#kernel";
import { kernelContract } from "./kernel.contract.ts";

kernelContract("fake", () => fakeKernel());
kernelContract("linux", () => linuxKernel());
kernelContract("linux before 5.12", () => linuxKernel({ mountApi: "classic" }));
