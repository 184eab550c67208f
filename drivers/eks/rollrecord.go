package eks

import (
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Tags on a managed node group, beside tagPrepared and tagRelease.
const (
	tagRoll         = tagPrefix + "roll"
	tagUpdateConfig = tagPrefix + "update-config"
)

// rollRecord is the tag rotatord.github.io/roll on a node group: the latest
// UpdateNodegroupVersion by a rotation. It is written BEFORE the call, with all
// that the call says, so that the same call can be made again whatever is
// recommended by then; and with the update's id after it:
//
//	op=r-1-00002 at=1772366400 version=1.37 release=1.37.2-20261120 template=0 from=3 force=false update=0f6…
type rollRecord struct {
	Op string
	At time.Time // to the second
	// Version, Release and Template are what the node group is rolled to; empty and
	// 0: not said to EKS.
	Version, Release string
	Template         int64
	From             int64 // version of EKS' own template that the group launched from
	Force            bool
	Update           string // empty: the call was not made, or its answer was lost
}

func (r *rollRecord) String() string {
	var f fields
	f.add("op", r.Op)
	f.addInt("at", int(r.At.Unix()))
	f.add("version", r.Version)
	f.add("release", r.Release)
	f.addInt("template", int(r.Template))
	f.addInt("from", int(r.From))
	f.add("force", strconv.FormatBool(r.Force))
	f.add("update", r.Update)
	return f.b.String()
}

func parseRollRecord(tags map[string]string) (*rollRecord, error) {
	value, ok := tags[tagRoll]
	if !ok {
		return nil, nil
	}
	r := read(value)
	rec := &rollRecord{
		Op: r.word("op"), At: time.Unix(int64(r.number("at")), 0),
		Version: r.word("version"), Release: r.word("release"),
		Template: int64(r.number("template")), From: int64(r.number("from")),
		Force: r.word("force", "true", "false") == "true", Update: r.word("update"),
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("tag %s: %w", tagRoll, err)
	}
	return rec, nil
}

// updateRecord is the tag rotatord.github.io/update-config: what a node group's
// update configuration was before the rotation, and what the rotation made of
// it. It is written BEFORE the change:
//
//	ownnodes=1 ownpercent=0 ownstrategy=DEFAULT setnodes=3 setpercent=0 setstrategy=DEFAULT
type updateRecord struct{ Own, Set updateConfig }

// updateConfig is a node group's update configuration: nodes, or a percentage of
// them, and a strategy.
type updateConfig struct {
	Nodes, Percent int32 // one of them is 0
	Strategy       ekstypes.NodegroupUpdateStrategies
}

// updateConfigOf reads a node group's. EKS' defaults are 1 node and DEFAULT.
func updateConfigOf(n *ekstypes.Nodegroup) updateConfig {
	c := updateConfig{Strategy: ekstypes.NodegroupUpdateStrategiesDefault}
	if u := n.UpdateConfig; u != nil {
		c.Nodes, c.Percent = aws.ToInt32(u.MaxUnavailable), aws.ToInt32(u.MaxUnavailablePercentage)
		if u.UpdateStrategy != "" {
			c.Strategy = u.UpdateStrategy
		}
	}
	if c.Nodes == 0 && c.Percent == 0 {
		c.Nodes = 1
	}
	return c
}

// request is the configuration as EKS takes it.
func (c updateConfig) request() *ekstypes.NodegroupUpdateConfig {
	u := &ekstypes.NodegroupUpdateConfig{UpdateStrategy: c.Strategy}
	if c.Percent > 0 {
		u.MaxUnavailablePercentage = aws.Int32(c.Percent)
	} else {
		u.MaxUnavailable = aws.Int32(c.Nodes)
	}
	return u
}

// defaults is the configuration as what holds where the rotation file says
// nothing, for a node group of a size. EKS rounds a percentage up, the core down.
func (c updateConfig) defaults(size int) sdk.Defaults {
	n := max(1, int(c.Nodes), (size*int(c.Percent)+99)/100)
	return sdk.Defaults{MaxUnavailable: strconv.Itoa(n), Source: "the node group's updateConfig"}
}

func (r *updateRecord) String() string {
	var f fields
	for _, w := range []struct {
		key string
		c   updateConfig
	}{{"own", r.Own}, {"set", r.Set}} {
		f.addInt(w.key+"nodes", int(w.c.Nodes))
		f.addInt(w.key+"percent", int(w.c.Percent))
		f.add(w.key+"strategy", string(w.c.Strategy))
	}
	return f.b.String()
}

func parseUpdateRecord(tags map[string]string) (*updateRecord, error) {
	value, ok := tags[tagUpdateConfig]
	if !ok {
		return nil, nil
	}
	r := read(value)
	take := func(key string) updateConfig {
		return updateConfig{
			Nodes: int32(r.number(key + "nodes")), Percent: int32(r.number(key + "percent")),
			Strategy: ekstypes.NodegroupUpdateStrategies(r.word(key + "strategy")),
		}
	}
	rec := &updateRecord{Own: take("own"), Set: take("set")}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("tag %s: %w", tagUpdateConfig, err)
	}
	return rec, nil
}
