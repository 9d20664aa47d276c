#!/bin/sh
# Runs the GPU benchmarks on a bare Linux machine (x64) with a Vulkan driver: nothing is installed. Made by benchmarks/gpu/pack.ts.
#   ./run.sh [--quick] [--only=<regular expression>] [--lane=lavapipe]     results: results.json beside this file
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"

if [ ! -x node ]; then
  if command -v xz >/dev/null 2>&1; then
    xz -dc node.xz >node.part
  elif command -v python3 >/dev/null 2>&1; then
    python3 -c 'import lzma, shutil; shutil.copyfileobj(lzma.open("node.xz"), open("node.part", "wb"))'
  else
    echo "node.xz cannot be unpacked: install xz-utils or python3" >&2
    exit 3
  fi
  chmod +x node.part
  mv node.part node
fi

# The Vulkan loader: the system's, else the one that was packed.
has() { ldconfig -p 2>/dev/null | grep -q "$1"; }
if ! has 'libvulkan\.so\.1'; then
  if [ -e lib/libvulkan.so.1 ]; then
    export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    echo "no libvulkan.so.1 on this machine: using the packed one" >&2
  else
    echo "libvulkan.so.1 is missing: apt-get install libvulkan1, or put the libvulkan.so.1 of that package into $here/lib" >&2
    exit 3
  fi
fi

# The driver's manifest: containers often have the libraries without it.
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]; then
  found=
  for folder in /etc/vulkan/icd.d /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d; do
    for file in "$folder"/*nvidia*.json; do [ -e "$file" ] && found=$file; done
  done
  for file in /usr/local/nvidia/share/vulkan/icd.d/*nvidia*.json; do
    if [ -z "$found" ] && [ -e "$file" ]; then
      export VK_DRIVER_FILES="$file"
      found=$file
    fi
  done
  if [ -z "$found" ] && command -v nvidia-smi >/dev/null 2>&1; then
    # libGLX_nvidia wants X11's libraries, libEGL_nvidia does not.
    library=
    if has libGLX_nvidia && has 'libX11\.so\.6' && has 'libXext\.so\.6'; then
      library=libGLX_nvidia.so.0
    elif has libEGL_nvidia; then
      library=libEGL_nvidia.so.0
    fi
    if [ -z "$library" ]; then
      echo "the NVIDIA driver here has no graphics libraries: in a container set NVIDIA_DRIVER_CAPABILITIES=all (or compute,graphics,utility)" >&2
      exit 3
    fi
    printf '{"file_format_version": "1.0.1", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}\n' "$library" >nvidia_icd.json
    export VK_DRIVER_FILES="$here/nvidia_icd.json"
  fi
fi

export FRUGAL_WEBGPU_MODULE="$here/webgpu/index.js"
export FRUGAL_STORIES15M_GGUF="$here/stories15m-q8_0.gguf"
exec ./node benchmarks/gpu/run.ts tensor-core --output=results.json "$@"
