#!/usr/bin/env bash
# Compiles, runs and times every Core ML file in a folder on this Mac, and type-checks the Swift files in it. Needs
# Xcode or its command line tools, and no Python. Must run in bash 3.2, the version that macOS has.
set -euo pipefail
shopt -s nullglob

usage="usage: check_on_mac.sh [--repeats N] FOLDER [PHOTO...]"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

refuse() {
    echo "Error: $*" >&2
    exit 2
}

repeats=20
case "${1-}" in
-h | --help)
    echo "$usage"
    echo "Compiles every .mlmodel and .mlpackage in FOLDER, predicts each PHOTO (or a drawn one) on every compute unit,"
    echo "compares the images, times N predictions (20), and type-checks every .swift file. Exit codes: 0 PASS, 1 FAIL,"
    echo "2 wrong arguments, or no Mac."
    exit 0
    ;;
--repeats)
    [[ "${2-}" =~ ^[1-9][0-9]{0,4}$ ]] || refuse "--repeats ${2-}: give a number from 1 to 99999"
    repeats="$2"
    shift 2
    ;;
-*) refuse "there is no option $1; $usage" ;;
esac
[ $# -ge 1 ] || refuse "give a folder that holds .mlmodel or .mlpackage files; $usage"
folder="${1%/}"
shift
[ -d "${folder:-/}" ] || refuse "$folder: no such folder"
for photo in "$@"; do
    [ -f "$photo" ] || refuse "$photo: no such photograph"
done
models=("$folder"/*.mlmodel "$folder"/*.mlpackage)
[ ${#models[@]} -ge 1 ] || refuse "$folder: holds no .mlmodel or .mlpackage; write one with: tinystyle export"

[ "$(uname -s)" = Darwin ] || refuse "Core ML runs on macOS only, and this is $(uname -s); run this script on a Mac"
xcrun --find swiftc >/dev/null 2>&1 || refuse "there is no Swift compiler; install it with: xcode-select --install"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
failed=0

echo "macOS $(sw_vers -productVersion), $(sysctl -n machdep.cpu.brand_string 2>/dev/null || uname -m)"

# Compile each file as a build in Xcode does. Core ML then compiles it again, as in an app that downloads a file.
if xcrun --find coremlcompiler >/dev/null 2>&1; then
    for model in "${models[@]}"; do
        name="$(basename "$model")"
        mkdir "$work/$name"
        if ! xcrun coremlcompiler compile "$model" "$work/$name" >"$work/log" 2>&1; then
            echo "$name: coremlcompiler refuses it:"
            cat "$work/log"
            failed=1
        fi
    done
else
    echo "No coremlcompiler (it comes with Xcode): the files are compiled by Core ML alone."
fi

if xcrun swiftc -O -swift-version 5 -suppress-warnings "$here/check_on_mac.swift" -o "$work/check"; then
    "$work/check" "$repeats" "${models[@]}" -- "$@" || failed=1
else
    echo "check_on_mac.swift does not compile: nothing was predicted; please report what the compiler said."
    failed=1
fi

sources=("$folder"/*.swift)
if [ ${#sources[@]} -ge 1 ]; then
    target=()
    if xcrun --sdk iphoneos --show-sdk-path >/dev/null 2>&1; then
        target=(--sdk iphoneos swiftc -target arm64-apple-ios15.0)
    else
        target=(swiftc)
    fi
    for source in "${sources[@]}"; do
        # Checked one by one, because files for several models may declare the same class.
        if xcrun "${target[@]}" -typecheck -parse-as-library -swift-version 5 "$source"; then
            echo "$(basename "$source"): type-checks"
        else
            echo "$(basename "$source"): does not type-check"
            failed=1
        fi
    done
fi

if [ $failed -eq 0 ]; then
    echo "PASS: ${#models[@]} Core ML files, ${#sources[@]} Swift files"
else
    echo "FAIL: see above"
fi
exit $failed
