package config

import (
	"strings"
)

// didYouMean returns "; did you mean X?" when one of the candidates is near.
func didYouMean(word string, candidates []string) string {
	if n := Nearest(word, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// Nearest returns the candidate that word was most likely meant to be, the
// first of equals; empty when none is near. Case, dashes and underscores do
// not count.
func Nearest(word string, candidates []string) string {
	best, bestDistance := "", 0
	w := fold(word)
	for _, c := range candidates {
		f := fold(c)
		// A third of the letters may differ, four at most: beyond that
		// a suggestion misleads.
		limit := max(1, min(4, max(len(w), len(f))/3))
		if d := distance(w, f); d <= limit && (best == "" || d < bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour that makes b out of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
