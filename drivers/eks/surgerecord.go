package eks

// surgeRecord is the tag rotatord.github.io/surge: the latest change of a
// group's desired capacity by a rotation. It is written as pending BEFORE the
// change and as applied after it, so that whoever finds it can tell by the
// group's desired capacity whether the change happened:
//
//	rotation=r-1 was=0 surge=4 from=10 to=14 state=pending max=12 maxfrom=12 maxto=14
type surgeRecord struct {
	Rotation   string
	Was, Surge int  // surge before and after the change
	From, To   int  // desired capacity before and after
	Applied    bool // the change is known to have happened
	// Shrink names the instance whose end takes the capacity along; empty: the
	// change is a raise.
	Shrink string
	// Max is nil while the group's maximum was not touched.
	Max *maxRecord
}

// maxRecord is the raise of a group's maximum size.
type maxRecord struct {
	Own      int // what it was before the rotation
	From, To int // the latest raise: From was Own or an earlier raise
}

// ours tells whether the maximum is one that the rotation set or started from.
func (m *maxRecord) ours(current int) bool { return current == m.From || current == m.To }

func (r *surgeRecord) String() string {
	var f fields
	f.add("rotation", r.Rotation)
	f.addInt("was", r.Was)
	f.addInt("surge", r.Surge)
	f.addInt("from", r.From)
	f.addInt("to", r.To)
	if r.Applied {
		f.add("state", "applied")
	} else {
		f.add("state", "pending")
	}
	if r.Shrink != "" {
		f.add("shrink", r.Shrink)
	}
	if r.Max != nil {
		f.addInt("max", r.Max.Own)
		f.addInt("maxfrom", r.Max.From)
		f.addInt("maxto", r.Max.To)
	}
	return f.b.String()
}

func parseSurgeRecord(value string) (*surgeRecord, error) {
	r := read(value)
	s := &surgeRecord{
		Rotation: r.word("rotation"),
		Was:      r.number("was"), Surge: r.number("surge"),
		From: r.number("from"), To: r.number("to"),
		Applied: r.word("state", "pending", "applied") == "applied",
	}
	s.Shrink, _ = r.take("shrink")
	if _, ok := r.values["max"]; ok {
		s.Max = &maxRecord{Own: r.number("max"), From: r.number("maxfrom"), To: r.number("maxto")}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return s, nil
}

// standing is what a surge record means for a group as it is now.
type standing struct {
	// Surge is how much of the group's desired capacity is surge.
	Surge int
	// Rebased tells that desired capacity is neither what the record started
	// from nor what it led to: somebody else changed it. The group's own size is
	// then desired - Surge, whatever it was before.
	Rebased bool
	// Settled tells that the record says so already: there is nothing to write.
	Settled bool
	// KeptByShrink tells that the instance of a shrink is gone while capacity is
	// what it was: the group ended it by itself, and nothing was taken.
	KeptByShrink bool
}

// stand reads a record (nil: none) against the group's desired capacity. Going
// tells whether an instance is no longer in service in the group: it decides
// whether a pending shrink happened, since ending the instance and taking the
// capacity are one act.
//
// A pending raise beside a desired capacity that is neither is read as not
// happened: what is desired now then counts as the group's own, which can leave
// instances too many for a person to see, and never ends any that are wanted.
func (r *surgeRecord) stand(desired int, going func(id string) bool) standing {
	s := standing{Settled: true}
	switch {
	case r == nil:
		return s
	case r.Applied:
		s = standing{Surge: r.Surge, Rebased: desired != r.To, Settled: desired == r.To}
	case r.Shrink == "" && desired == r.To:
		s = standing{Surge: r.Surge}
	case r.Shrink == "":
		s = standing{Surge: r.Was, Rebased: desired != r.From}
	case !going(r.Shrink):
		s = standing{Surge: r.Was, Rebased: desired != r.From}
	case desired == r.From:
		s = standing{Surge: r.Was, KeptByShrink: true}
	default:
		s = standing{Surge: r.Surge, Rebased: desired != r.To}
	}
	// A group that somebody made smaller than its surge has no size of its own.
	if s.Surge > desired {
		s.Surge, s.Settled = desired, false
	}
	return s
}

// settled is the record that says what stand found, with nothing pending.
func (r *surgeRecord) settled(desired int, s standing) *surgeRecord {
	n := *r
	n.Was, n.Surge, n.From, n.To, n.Applied, n.Shrink = s.Surge, s.Surge, desired, desired, true, ""
	return &n
}

// raised is the record of a raise to surge, to be written before it. Max and
// from are the group's present maximum and desired capacity.
func (r *surgeRecord) raised(rotation string, s standing, surge, desired, max int) *surgeRecord {
	n := &surgeRecord{Rotation: rotation, Was: s.Surge, Surge: surge, From: desired, To: desired + surge - s.Surge}
	if r != nil {
		n.Max = r.Max
	}
	if n.To <= max {
		return n
	}
	own := max
	if n.Max != nil && n.Max.ours(max) {
		own = n.Max.Own
	}
	n.Max = &maxRecord{Own: own, From: max, To: n.To}
	return n
}

// shrunk is the record of a shrink by one instance, to be written before it.
func (r *surgeRecord) shrunk(rotation, instance string, s standing, desired int) *surgeRecord {
	n := &surgeRecord{Rotation: rotation, Was: s.Surge, Surge: max(s.Surge-1, 0), From: desired, To: desired - 1, Shrink: instance}
	if r != nil {
		n.Max = r.Max
	}
	return n
}
