// Package cloud is a make-believe provider of machines: groups that launch and
// terminate instances by themselves, as auto scaling groups do. It stands where
// a real driver imports its provider's client.
//
// All of it lives in one JSON file, so that it outlives the driver's process,
// and moves with the clock: whoever looks at it brings it up to date first.
package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"
)

// ErrNotFound is returned for groups and instances that do not exist.
var ErrNotFound = errors.New("does not exist")

// ErrDenied is returned for a wrong password.
var ErrDenied = errors.New("access denied")

// State is the whole cloud.
type State struct {
	Cluster   string        `json:"cluster"`
	Password  string        `json:"password,omitempty"` // empty: everybody may
	BootDelay time.Duration `json:"bootDelay"`          // from launch to in service
	StopDelay time.Duration `json:"stopDelay"`          // from terminate to gone
	Groups    []Group       `json:"groups"`
	Images    []Image       `json:"images,omitempty"` // that templates are made of
	LastID    int           `json:"lastID"`
}

// Image is a machine image, published by the provider.
type Image struct {
	Template  int       `json:"template"` // version of the templates made of it
	Name      string    `json:"name"`
	Published time.Time `json:"published"`
}

// Group is a set of like instances.
type Group struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Min       int               `json:"min"`
	Max       int               `json:"max"`
	Desired   int               `json:"desired"`
	Template  int               `json:"template"`        // version that new instances are made from
	Rebalance bool              `json:"rebalance"`       // a process that gets in a rotation's way
	Rolls     bool              `json:"rolls,omitempty"` // the cloud alone replaces its instances
	Roll      *Roll             `json:"roll,omitempty"`  // the latest; nil: none yet
	Tags      map[string]string `json:"tags,omitempty"`
	Instances []Instance        `json:"instances,omitempty"`
}

// Instance is one machine.
type Instance struct {
	ID         string    `json:"id"`
	Zone       string    `json:"zone"`
	Template   int       `json:"template"`
	Launched   time.Time `json:"launched"`
	Terminated time.Time `json:"terminated,omitzero"` // zero: it runs
}

// InService tells whether the instance has booted and is not terminating.
func (i Instance) InService(boot time.Duration, now time.Time) bool {
	return i.Terminated.IsZero() && !now.Before(i.Launched.Add(boot))
}

// Client talks to the cloud in one file.
type Client struct {
	File     string
	Password string
}

// Create writes a new cloud. It replaces one that is there.
func Create(file string, s State) error {
	s.step(time.Now())
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// Describe answers everything.
func (c Client) Describe() (State, error) {
	var out State
	err := c.update(func(s *State) error { out = *s; return nil })
	return out, err
}

// SetDesired changes a group's size. Lowering it makes the group pick victims.
func (c Client) SetDesired(group string, n int) error {
	return c.group(group, func(g *Group) error {
		if n < g.Min || n > g.Max {
			return fmt.Errorf("group %s: desired %d is not between min %d and max %d", group, n, g.Min, g.Max)
		}
		g.Desired = n
		return nil
	})
}

// SetTemplate publishes a new template version.
func (c Client) SetTemplate(group string, version int) error {
	return c.group(group, func(g *Group) error { g.Template = version; return nil })
}

// SetRebalance switches rebalancing.
func (c Client) SetRebalance(group string, on bool) error {
	return c.group(group, func(g *Group) error { g.Rebalance = on; return nil })
}

// Tag sets tags; an empty value removes one.
func (c Client) Tag(group string, tags map[string]string) error {
	return c.group(group, func(g *Group) error {
		if g.Tags == nil {
			g.Tags = map[string]string{}
		}
		maps.Copy(g.Tags, tags)
		maps.DeleteFunc(g.Tags, func(_, v string) bool { return v == "" })
		return nil
	})
}

// Terminate ends an instance. With shrink the group's size goes down by one in
// the same act. An instance that is terminating already is left to it.
func (c Client) Terminate(group, instance string, shrink bool) error {
	return c.group(group, func(g *Group) error {
		i := slices.IndexFunc(g.Instances, func(i Instance) bool { return i.ID == instance })
		if i < 0 {
			return fmt.Errorf("instance %s %w", instance, ErrNotFound)
		}
		if !g.Instances[i].Terminated.IsZero() {
			return nil
		}
		if shrink {
			if g.Desired <= g.Min {
				return fmt.Errorf("group %s: desired %d is at its minimum", group, g.Desired)
			}
			g.Desired--
		}
		g.Instances[i].Terminated = time.Now()
		return nil
	})
}

func (c Client) group(id string, change func(*Group) error) error {
	return c.update(func(s *State) error {
		for i := range s.Groups {
			if s.Groups[i].ID == id {
				return change(&s.Groups[i])
			}
		}
		return fmt.Errorf("group %s %w", id, ErrNotFound)
	})
}

// update changes the file under a lock: one call is one atomic act. When change
// fails nothing is changed.
func (c Client) update(change func(*State) error) error {
	f, err := os.OpenFile(c.File, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the cloud: %w", err)
	}
	defer f.Close() // written by one WriteAt, whose error counts
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("the cloud: lock: %w", err)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("the cloud: %w", err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("the cloud: %s: %w", c.File, err)
	}
	if s.Password != "" && s.Password != c.Password {
		return ErrDenied
	}
	s.step(time.Now())
	if err := change(&s); err != nil {
		return err
	}
	s.step(time.Now())
	after, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if slices.Equal(raw, after) {
		return nil
	}
	if _, err := f.WriteAt(after, 0); err != nil {
		return fmt.Errorf("the cloud: %w", err)
	}
	return f.Truncate(int64(len(after)))
}

// step brings the cloud up to date: instances end, groups launch what they lack
// and terminate what they have too many, the oldest first.
func (s *State) step(now time.Time) {
	zones := []string{"a", "b", "c"}
	for g := range s.Groups {
		group := &s.Groups[g]
		group.Instances = slices.DeleteFunc(group.Instances, func(i Instance) bool {
			return !i.Terminated.IsZero() && !now.Before(i.Terminated.Add(s.StopDelay))
		})
		group.roll(s.BootDelay, now)
		running := 0
		for _, i := range group.Instances {
			if i.Terminated.IsZero() {
				running++
			}
		}
		for ; running < group.Desired; running++ {
			s.LastID++
			group.Instances = append(group.Instances, Instance{
				ID: fmt.Sprintf("m-%06d", s.LastID), Zone: zones[s.LastID%len(zones)], Template: group.Template, Launched: now,
			})
		}
		for i := 0; running > group.Desired && i < len(group.Instances); i++ {
			if group.Instances[i].Terminated.IsZero() {
				group.Instances[i].Terminated = now
				running--
			}
		}
	}
}
