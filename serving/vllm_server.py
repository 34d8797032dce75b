"""vLLM's own server under a patient garbage collector, which saves one in seven seconds of its start.

Its two large processes make millions of objects while they import, and none of them is garbage. As the main module of
both it also spares the second one an import of the web server, which Python would otherwise do to find its main module.
Command: `python -m serving.vllm_server` with the arguments of vLLM's server.
"""

import gc
import runpy

SERVER = "vllm.entrypoints.openai.api_server"
ALLOCATIONS = 200_000

if __name__ in ("__main__", "__mp_main__"):
    gc.set_threshold(ALLOCATIONS, 20, 100)

if __name__ == "__main__":
    runpy.run_module(SERVER, run_name="__main__")
