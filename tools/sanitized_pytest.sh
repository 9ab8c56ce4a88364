#!/usr/bin/env bash
# The Python tests on a build with sanitizers, in an environment of its own under build/:
#
#   tools/sanitized_pytest.sh address [pytest arguments]    address and undefined behaviour
#   tools/sanitized_pytest.sh thread [pytest arguments]     data races inside the library; by default the tests that
#                                                           use threads (the interpreter itself is not instrumented)
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?address or thread}
shift
case $kind in
address)
    preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
    arguments=("${@:-tests}")
    ;;
thread)
    preload=$(gcc -print-file-name=libtsan.so)
    arguments=("${@:-tests/test_threads.py}")
    ;;
*)
    echo "address or thread, not $kind" >&2
    exit 2
    ;;
esac
environment=build/sanitized-$kind
python=$(command -v python3.11 || command -v python3)
[ -d "$environment" ] || "$python" -m venv "$environment"
"$environment/bin/pip" install -q "pytest>=8" "hypothesis>=6.100" "numpy>=1.26"
CHAINRULE_SANITIZE=$kind "$environment/bin/pip" install -q --no-deps --force-reinstall .
# No leak check: what the interpreter keeps to its end counts as lost there. Leaks are looked for by the C tests and by
# tests/test_growth.py, which in turn cannot measure a heap that the sanitizer has taken over. The tests of faults bring
# an allocator of their own, kill and fork.
LD_PRELOAD=$preload PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS="halt_on_error=1 exitcode=66" \
    "$environment/bin/python" -m pytest -q -p no:cacheprovider --deselect tests/test_growth.py \
    --ignore-glob="tests/test_faults_*.py" "${arguments[@]}"
