#!/usr/bin/env bash
# The Python tests on a build with sanitizers, in an environment of its own under build/:
#
#   tools/sanitized_pytest.sh address [pytest arguments]    address and undefined behaviour
#   tools/sanitized_pytest.sh thread [pytest arguments]     data races inside the library; by default the tests that
#                                                           use threads (the interpreter itself is not instrumented)
#
# Arguments take the place of the tests' files. Some tests cannot run here:
# - tests/test_growth.py, which measures a heap that the sanitizer has taken over. For the same reason there is no
#   leak check: what the interpreter keeps to its end counts as lost. Leaks are looked for by the C tests.
# - address: the tests of faults, which bring an allocator of their own, kill and fork.
# - thread: a test that counts threads, of which the sanitizer has one itself.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?address or thread}
shift
case $kind in
address)
    preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
    [ $# -gt 0 ] || set -- tests
    set -- --ignore-glob="tests/test_faults_*.py" "$@"
    ;;
thread)
    preload=$(gcc -print-file-name=libtsan.so)
    [ $# -gt 0 ] || set -- tests/test_threads.py tests/test_faults_fork.py
    set -- --deselect tests/test_threads.py::test_work_is_split_when_it_is_worth_it "$@"
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
exec env LD_PRELOAD="$preload" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
    TSAN_OPTIONS="halt_on_error=1 exitcode=66 die_after_fork=0" \
    "$environment/bin/python" -m pytest -q -p no:cacheprovider --deselect tests/test_growth.py "$@"
