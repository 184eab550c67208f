package eks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSurgeRecordText(t *testing.T) {
	cases := []struct {
		name string
		rec  surgeRecord
		want string
	}{
		{
			"a raise", surgeRecord{Rotation: "r-1", Surge: 4, From: 10, To: 14},
			"rotation=r-1 was=0 surge=4 from=10 to=14 state=pending",
		},
		{
			"a raise beyond the maximum, done", surgeRecord{Rotation: "r-1", Surge: 4, From: 10, To: 14, Applied: true, Max: &maxRecord{Own: 12, From: 12, To: 14}},
			"rotation=r-1 was=0 surge=4 from=10 to=14 state=applied max=12 maxfrom=12 maxto=14",
		},
		{
			"a shrink", surgeRecord{Rotation: "r-1", Was: 4, Surge: 3, From: 14, To: 13, Shrink: "i-0123456789abcdef0"},
			"rotation=r-1 was=4 surge=3 from=14 to=13 state=pending shrink=i-0123456789abcdef0",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.rec.String(); got != c.want {
				t.Errorf("text\n got %q\nwant %q", got, c.want)
			}
			back, err := parseSurgeRecord(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.rec, back); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLongestRecords: what AWS allows must fit a tag's value, in characters
// that a tag may hold.
func TestLongestRecords(t *testing.T) {
	id := strings.Repeat("x", 64)
	if !rotationID.MatchString(id) || rotationID.MatchString(id+"x") {
		t.Fatal("64 is not the longest rotation id")
	}
	surge := surgeRecord{
		Rotation: id, Was: maxSurge, Surge: maxSurge - 1, From: 99999, To: 99998, Applied: true,
		Shrink: "i-0123456789abcdef0", Max: &maxRecord{Own: 99999, From: 99999, To: 99999},
	}
	values := []string{surge.String()}
	prepared := prepareRecord{Rotation: id, Suspended: true}
	for i := range maxProtected {
		prepared.Protected = append(prepared.Protected, fmt.Sprintf("i-%017x", i))
	}
	for _, v := range prepared.tags() {
		values = append(values, v)
	}
	for _, v := range values {
		if len(v) > maxTagValue {
			t.Errorf("%d characters: %s", len(v), v)
		}
		if i := strings.IndexFunc(v, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.:/=+-@", r)
		}); i >= 0 {
			t.Errorf("character %q: %s", v[i], v)
		}
	}
	if n := len(prepared.tags()); n != maxProtectedTags+1 {
		t.Errorf("%d tags, want %d", n, maxProtectedTags+1)
	}
	back, err := parsePrepareRecord(prepared.tags())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&prepared, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestUnreadableRecords(t *testing.T) {
	for _, v := range []string{
		"", "rotation=r-1", "nonsense", "=1",
		"rotation=r-1 was=0 surge=4 from=10 to=14 state=done",
		"rotation=r-1 was=0 surge=-4 from=10 to=14 state=pending",
		"rotation=r-1 was=0 surge=four from=10 to=14 state=pending",
		"rotation=r-1 was=0 surge=4 surge=5 from=10 to=14 state=pending",
		"rotation=r-1 was=0 surge=4 from=10 to=14 state=pending later=1",
		"rotation=r-1 was=0 surge=4 from=10 to=14 state=pending max=12",
	} {
		if rec, err := parseSurgeRecord(v); err == nil {
			t.Errorf("surge %q reads as %+v", v, rec)
		}
	}
	for _, tags := range []map[string]string{
		{tagPrepared: ""},
		{tagPrepared: "rotation=r-1 azrebalance=maybe protect=false protected=0"},
		{tagPrepared: "rotation=r-1 azrebalance=running protect=no protected=0"},
		{tagPrepared: "rotation=r-1 azrebalance=running protect=false protected=2", tagProtected + "0": "i-1"},
	} {
		if rec, err := parsePrepareRecord(tags); err == nil {
			t.Errorf("prepared %v reads as %+v", tags, rec)
		}
	}
	if rec, err := parsePrepareRecord(map[string]string{"team": "blue"}); rec != nil || err != nil {
		t.Errorf("no record: %+v, %v", rec, err)
	}
}

// TestStand is the table of what a record means: one line for each pair of
// record and world.
func TestStand(t *testing.T) {
	raise := surgeRecord{Was: 1, Surge: 4, From: 11, To: 14}
	raised := raise
	raised.Applied = true
	shrink := surgeRecord{Was: 4, Surge: 3, From: 14, To: 13, Shrink: "i-1"}
	shrunk := shrink
	shrunk.Applied = true
	cases := []struct {
		name    string
		rec     *surgeRecord
		desired int
		going   bool // the instance of a shrink is no longer in service
		want    standing
	}{
		{"no record", nil, 10, false, standing{Settled: true}},
		{"raised", &raised, 14, false, standing{Surge: 4, Settled: true}},
		{"raised, then others raised", &raised, 16, false, standing{Surge: 4, Rebased: true}},
		{"raised, then others lowered", &raised, 12, false, standing{Surge: 4, Rebased: true}},
		{"raised, then others went below the surge", &raised, 3, false, standing{Surge: 3, Rebased: true}},
		{"raise cut off before it happened", &raise, 11, false, standing{Surge: 1}},
		{"raise cut off after it happened", &raise, 14, false, standing{Surge: 4}},
		{"raise cut off, then others changed", &raise, 12, false, standing{Surge: 1, Rebased: true}},
		{"shrunk", &shrunk, 13, true, standing{Surge: 3, Settled: true}},
		{"shrunk, then others raised", &shrunk, 15, true, standing{Surge: 3, Rebased: true}},
		{"shrink cut off before it happened", &shrink, 14, false, standing{Surge: 4}},
		{"shrink cut off after it happened", &shrink, 13, true, standing{Surge: 3}},
		{"shrink cut off, and the instance went by itself", &shrink, 14, true, standing{Surge: 4, KeptByShrink: true}},
		{"shrink cut off before, then others changed", &shrink, 20, false, standing{Surge: 4, Rebased: true}},
		{"shrink cut off before, then others took one", &shrink, 13, false, standing{Surge: 4, Rebased: true}},
		{"shrink cut off after, then others changed", &shrink, 20, true, standing{Surge: 3, Rebased: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := c.rec.stand(c.desired, func(string) bool { return c.going })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("standing (-want +got):\n%s", diff)
			}
			if c.rec == nil {
				return
			}
			// What is written about it stands, and says the same.
			again := c.rec.settled(c.desired, got).stand(c.desired, nil)
			if diff := cmp.Diff(standing{Surge: got.Surge, Settled: true}, again); diff != "" {
				t.Errorf("once settled (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRaised(t *testing.T) {
	cases := []struct {
		name                string
		rec                 *surgeRecord
		now                 standing
		surge, desired, max int
		want                surgeRecord
	}{
		{"the first", nil, standing{}, 4, 10, 20, surgeRecord{Rotation: "r", Surge: 4, From: 10, To: 14}},
		{"beyond the maximum", nil, standing{}, 4, 10, 12, surgeRecord{Rotation: "r", Surge: 4, From: 10, To: 14, Max: &maxRecord{12, 12, 14}}},
		{"up to the maximum", nil, standing{}, 2, 10, 12, surgeRecord{Rotation: "r", Surge: 2, From: 10, To: 12}},
		{
			"a second, beyond what the first raised", &surgeRecord{Max: &maxRecord{12, 12, 14}}, standing{Surge: 4}, 6, 14, 14,
			surgeRecord{Rotation: "r", Was: 4, Surge: 6, From: 14, To: 16, Max: &maxRecord{12, 14, 16}},
		},
		{
			"a second, cut off before the maximum was raised", &surgeRecord{Max: &maxRecord{12, 14, 16}}, standing{Surge: 4}, 6, 14, 14,
			surgeRecord{Rotation: "r", Was: 4, Surge: 6, From: 14, To: 16, Max: &maxRecord{12, 14, 16}},
		},
		{
			"a second, after somebody set the maximum", &surgeRecord{Max: &maxRecord{12, 12, 14}}, standing{Surge: 4}, 6, 14, 15,
			surgeRecord{Rotation: "r", Was: 4, Surge: 6, From: 14, To: 16, Max: &maxRecord{15, 15, 16}},
		},
		{
			"a second, within what the first raised", &surgeRecord{Max: &maxRecord{12, 12, 14}}, standing{Surge: 3}, 4, 13, 14,
			surgeRecord{Rotation: "r", Was: 3, Surge: 4, From: 13, To: 14, Max: &maxRecord{12, 12, 14}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(&c.want, c.rec.raised("r", c.now, c.surge, c.desired, c.max)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShrunk(t *testing.T) {
	own := &maxRecord{12, 12, 14}
	want := &surgeRecord{Rotation: "r", Was: 4, Surge: 3, From: 14, To: 13, Shrink: "i-1", Max: own}
	if diff := cmp.Diff(want, (&surgeRecord{Max: own}).shrunk("r", "i-1", standing{Surge: 4}, 14)); diff != "" {
		t.Errorf("with surge (-want +got):\n%s", diff)
	}
	want = &surgeRecord{Rotation: "r", From: 10, To: 9, Shrink: "i-1"}
	if diff := cmp.Diff(want, (*surgeRecord)(nil).shrunk("r", "i-1", standing{}, 10)); diff != "" {
		t.Errorf("without surge (-want +got):\n%s", diff)
	}
}
