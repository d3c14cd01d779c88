package wrangler

import "strings"

// Nearest returns the candidate that name is most likely a misspelling of, or "".
// One slip is allowed for three letters, two for six; case is none.
func Nearest(name string, candidates []string) string {
	if len(name) > maxName {
		return ""
	}
	best, bestDistance := "", 3
	for _, c := range candidates {
		allowed := min(2, len(c)/3)
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d <= allowed && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or exchange with their
// neighbor between a and b.
func distance(a, b string) int {
	var last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			replaced := row[j]
			if a[i] != b[j] {
				replaced++
			}
			next[j+1] = min(replaced, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], last[j-1]+1)
			}
		}
		last, row = row, next
	}
	return row[len(b)]
}

// didYouMean renders a suggestion to append to a message, or "".
func didYouMean(name string, candidates []string) string {
	if n := Nearest(name, candidates); n != "" {
		return "; did you mean \"" + n + "\"?"
	}
	return ""
}
