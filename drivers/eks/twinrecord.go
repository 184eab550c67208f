package eks

import "fmt"

const (
	// tagTwin is on the Auto Scaling group of a managed node group that a second
	// one takes the place of.
	tagTwin = tagPrefix + "blue-green"
	// tagTwinOf is on the second node group, and names the first.
	tagTwinOf = tagPrefix + "green-of"
)

// twinRecord is the tag rotatord.github.io/blue-green: which node group takes
// the place of this one (blue), what blue was before, and how many instances the
// two have together. It is written BEFORE what it describes. The second (green)
// is to have base + surge instances without those that blue still wants: that is
// absolute, so that any call finds out what is missing.
//
//	green=web-g2 at=1772366400 min=1 max=6 base=3 surge=1 wasbase=3 was=2 from=5 shrink=i-1
type twinRecord struct {
	Green    string // name of the node group
	At       int    // when the name was chosen, in Unix seconds: tells it from an earlier one that was undone
	Min, Max int    // blue's own sizes
	Base     int    // how many instances blue had
	Surge    int    // how many there are beyond these
	// Shrink names an instance that is being ended with its place; empty: none.
	// Base and Surge then are what they will be, and the rest what they were.
	Shrink            string
	WasBase, WasSurge int
	From              int // instances wanted of both, before
}

func (r *twinRecord) String() string {
	var f fields
	f.add("green", r.Green)
	f.addInt("at", r.At)
	f.addInt("min", r.Min)
	f.addInt("max", r.Max)
	f.addInt("base", r.Base)
	f.addInt("surge", r.Surge)
	if r.Shrink != "" {
		f.addInt("wasbase", r.WasBase)
		f.addInt("was", r.WasSurge)
		f.addInt("from", r.From)
		f.add("shrink", r.Shrink)
	}
	return f.b.String()
}

// parseTwinRecord reads the record from a group's tags; nil: it has none.
func parseTwinRecord(tags map[string]string) (*twinRecord, error) {
	value, ok := tags[tagTwin]
	if !ok {
		return nil, nil
	}
	r := read(value)
	rec := &twinRecord{Green: r.word("green"), At: r.number("at"), Min: r.number("min"), Max: r.number("max"), Base: r.number("base"), Surge: r.number("surge")}
	if _, pending := r.values["shrink"]; pending {
		rec.WasBase, rec.WasSurge, rec.From, rec.Shrink = r.number("wasbase"), r.number("was"), r.number("from"), r.word("shrink")
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("tag %s: %w", tagTwin, err)
	}
	return rec, nil
}

// shrunk is the record of an instance's end with its place: of the surge, or of
// the base when there is no surge.
func (r *twinRecord) shrunk(instance string, total int) *twinRecord {
	n := *r
	n.WasBase, n.WasSurge, n.From, n.Shrink = r.Base, r.Surge, total, instance
	if r.Surge > 0 {
		n.Surge--
	} else {
		n.Base = max(0, n.Base-1)
	}
	return &n
}

// settled is the record with nothing pending, by what both groups want now.
// Going tells whether an instance is on its way out. One that went while as many
// are wanted as before was not ended by us: its group launches another.
func (r *twinRecord) settled(total int, going func(id string) bool) *twinRecord {
	n := *r
	if r.Shrink != "" && (!going(r.Shrink) || total >= r.From) {
		n.Base, n.Surge = r.WasBase, r.WasSurge
	}
	n.Shrink, n.WasBase, n.WasSurge, n.From = "", 0, 0, 0
	return &n
}
