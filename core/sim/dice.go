package sim

import "time"

// dice is chance with a name: the same seed and name throw the same, whatever
// else happened before.
type dice struct{ state uint64 }

// newDice mixes the seed and the name (FNV-1a).
func newDice(seed uint64, name string, more ...string) dice {
	h := uint64(14695981039346656037) ^ seed*0x9e3779b97f4a7c15
	add := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // "a","bc" is not "ab","c"
	}
	add(name)
	for _, s := range more {
		add(s)
	}
	return dice{h}
}

// next is splitmix64.
func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n throws 0 to n-1; n must be positive.
func (d *dice) n(n int) int { return int(d.next() % uint64(n)) }

// between throws a duration from a to b.
func (d *dice) between(a, b time.Duration) time.Duration {
	return a + time.Duration(d.next()%uint64(b-a+1))
}

// chance is true with probability p.
func (d *dice) chance(p float64) bool { return float64(d.next()>>11)/(1<<53) < p }

// pick throws one of several.
func pick[T any](d *dice, of ...T) T { return of[d.n(len(of))] }
