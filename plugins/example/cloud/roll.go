package cloud

import (
	"fmt"
	"time"
)

// Roll is the replacement of all outdated instances of a group by the cloud, one
// after the other.
type Roll struct {
	Number   int       `json:"number"` // of the group's, from 1
	Token    string    `json:"token"`  // of the request that began it
	Template int       `json:"template"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero"` // zero: it has not
}

// Running tells whether the roll has not ended.
func (r *Roll) Running() bool { return r.Ended.IsZero() }

// Roll begins a roll, unless one with this token has begun, or any is running.
func (c Client) Roll(group, token string) (Roll, error) {
	var out Roll
	err := c.group(group, func(g *Group) error {
		if !g.Rolls {
			return fmt.Errorf("group %s is not rolled by the cloud", group)
		}
		number := 1
		if r := g.Roll; r != nil {
			if number = r.Number + 1; r.Running() || r.Token == token {
				out = *r
				return nil
			}
		}
		g.Roll = &Roll{Number: number, Token: token, Template: g.Template, Began: time.Now()}
		out = *g.Roll
		return nil
	})
	return out, err
}

// roll goes on with a roll: the next outdated instance goes once all are in
// service.
func (g *Group) roll(boot time.Duration, now time.Time) {
	if g.Roll == nil || !g.Roll.Running() {
		return
	}
	old := -1
	for i, in := range g.Instances {
		if !in.InService(boot, now) {
			return
		}
		if in.Template != g.Template {
			old = i
		}
	}
	if old < 0 {
		g.Roll.Ended = now
		return
	}
	g.Instances[old].Terminated = now
}
