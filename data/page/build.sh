#!/bin/sh
# The page as one file: page.html with the lines of the sources that it quotes and both builds of the
# program. A line <!-- quote FILE NAME --> becomes the function NAME of FILE with the comment before
# it and its line numbers; a name that is not there, or is there twice, ends the build.
# Usage: data/page/build.sh SIMD.wasm PLAIN.wasm > page
cd "$(dirname "$0")/../.." || exit 2
page=data/page/page.html
command -v base64 > /dev/null || { echo "build.sh: no base64 (coreutils)" >&2; exit 1; }

# A function begins at the margin with its type and name and ends at the next lone brace; the comment
# that ends right above it belongs to it.
quote() { # file, name
    awk -v name="$2" -v file="$1" '
        { line[NR] = $0 }
        /^\/\* / { comment = NR }
        comment && /\*\/$/ { commented = NR }
        !from && $0 ~ "^[a-z].*[ *]" name "\\(" && $0 !~ /;$/ {
            from = commented == NR - 1 ? comment : NR
            found++
        }
        from && !to && /^}$/ { to = NR }
        from && to && $0 ~ "^[a-z].*[ *]" name "\\(" && $0 !~ /;$/ { found++ }
        END {
            if (found != 1 || !to) {
                print "build.sh: " file ": the function " name " is there " found + 0 " times, the page quotes one" > "/dev/stderr"
                exit 1
            }
            printf "<figure class=\"code\"><figcaption>%s, lines %d to %d</figcaption><pre tabindex=\"0\"><code>", file, from, to
            for (i = from; i <= to; i++) {
                text = line[i]
                gsub(/&/, "\\&amp;", text)
                gsub(/</, "\\&lt;", text)
                gsub(/>/, "\\&gt;", text)
                printf "<i>%d</i> %s\n", i, text
            }
            print "</code></pre></figure>"
        }' "$1"
}

while IFS= read -r text; do
    case $text in
    *'<!-- quote '*)
        rest=${text#*<!-- quote }
        rest=${rest%% -->*}
        quote "${rest%% *}" "${rest#* }" || exit 1 ;;
    *'@SIMD@'*) printf '%s' "${text%%@SIMD@*}"; base64 -w 0 "$1" || exit 1; printf '%s\n' "${text#*@SIMD@}" ;;
    *'@PLAIN@'*) printf '%s' "${text%%@PLAIN@*}"; base64 -w 0 "$2" || exit 1; printf '%s\n' "${text#*@PLAIN@}" ;;
    *) printf '%s\n' "$text" ;;
    esac
done < $page
