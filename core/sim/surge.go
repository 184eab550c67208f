package sim

// surgeRecord is what a driver writes at the provider before it changes a
// group's capacity, as drivers/eks does: what it changes from and to.
type surgeRecord struct {
	was, surge int // surge before and after
	from, to   int // desired capacity before and after
	applied    bool
	shrink     string // the instance whose end takes the capacity along
}

// standing reads a record against what is. It answers the surge, and whether
// the record is of a shrink that did not happen though its instance is gone.
func (r *surgeRecord) standing(desired int, going func(string) bool) (surge int, settled bool) {
	settled = true
	switch {
	case r == nil:
		return 0, true
	case r.applied:
		surge, settled = r.surge, desired == r.to
	case r.shrink == "" && desired == r.to:
		surge = r.surge
	case r.shrink == "":
		surge = r.was
	case !going(r.shrink):
		surge = r.was
	case desired == r.from:
		surge = r.was // it ended by itself, and its capacity was kept
	default:
		surge, settled = r.surge, desired == r.to
	}
	if surge > desired {
		return desired, false
	}
	return surge, settled
}
