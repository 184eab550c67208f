package sim

import "slices"

// shrinkTries bounds the simulations of one Shrink.
const shrinkTries = 400

// Shrink looks for the fewest faults that break the same invariant as the
// report of o did: halves are left out, then quarters, then one by one (ddmin).
// It answers their names, for Options.Force, and the report they lead to.
func Shrink(o Options, r *Report) ([]string, *Report) {
	want := r.Broken[0].Invariant
	o.Rates, o.Events, o.Trace = nil, nil, nil
	tries := 0
	breaks := func(force []string) *Report {
		tries++
		o.Force = force
		if got := Run(o); len(got.Broken) > 0 && got.Broken[0].Invariant == want {
			return got
		}
		return nil
	}
	best := slices.Clone(r.Faults)
	got := breaks(best)
	if got == nil {
		return best, r // it takes what the names do not say
	}
	for parts := 2; len(best) > 0 && tries < shrinkTries; {
		size := (len(best) + parts - 1) / parts
		smaller := false
		for begin := 0; begin < len(best) && tries < shrinkTries; begin += size {
			rest := slices.Delete(slices.Clone(best), begin, min(begin+size, len(best)))
			if now := breaks(rest); now != nil {
				best, got, smaller = rest, now, true
				break
			}
		}
		switch {
		case smaller:
			parts = max(parts-1, 2)
		case size == 1:
			return best, got
		default:
			parts = min(parts*2, len(best))
		}
	}
	return best, got
}
