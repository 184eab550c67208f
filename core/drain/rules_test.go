package drain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

func TestRules(t *testing.T) {
	rules := []drain.Rule{
		{Namespaces: []string{"batch-*"}, Owners: []string{"Job"}, Action: drain.ActionWait},
		{Selector: "app=cache", Action: drain.ActionSkip},
		{Owners: []string{"StatefulSet/db-*"}, Order: 10},
		{Namespaces: []string{"default"}, Order: -5},
		{Selector: "app", Action: drain.ActionSkip},
	}
	p, err := drain.NewPolicy(rules, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, namespace, owner, labels string
		want                           drain.Action
		why                            string
		order                          int
	}{
		{"a Job of a namespace by pattern", "batch-1", "Job/import", "", drain.Wait, drain.WaitCompletion, 0},
		{"a Job elsewhere", "other", "Job/import", "", drain.Evict, "", 0},
		{"another kind there", "batch-1", "ReplicaSet/x", "", drain.Evict, "", 0},
		{"by label", "batch-1", "ReplicaSet/x", "app=cache", drain.Leave, drain.LeaveRule, 0},
		{"an owner by pattern", "other", "StatefulSet/db-main", "", drain.Evict, "", 10},
		{"another owner of the kind", "other", "StatefulSet/mq", "", drain.Evict, "", 0},
		{"the first rule counts", "default", "StatefulSet/db-main", "app=x", drain.Evict, "", 10},
		{"and then the next", "default", "ReplicaSet/web", "app=x", drain.Evict, "", -5},
		{"any value of a label", "other", "ReplicaSet/web", "app=x", drain.Leave, drain.LeaveRule, 0},
		{"none", "other", "ReplicaSet/web", "tier=x", drain.Evict, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kind, name, _ := strings.Cut(tc.owner, "/")
			pod := pod(func(p *model.Pod) {
				p.Namespace, p.Owner = tc.namespace, model.WorkloadKey{Kind: kind, Namespace: tc.namespace, Name: name}
				if k, v, ok := strings.Cut(tc.labels, "="); ok {
					p.Labels = map[string]string{k: v}
				}
			})
			got := p.Decide(pod, drain.Circumstances{Now: now})
			if got.Action != tc.want || got.Why != tc.why || got.Place.Order != tc.order {
				t.Errorf("got %v %q order %d, want %v %q order %d", got.Action, got.Why, got.Place.Order, tc.want, tc.why, tc.order)
			}
		})
	}
}

func TestSelectors(t *testing.T) {
	labels := map[string]string{"app": "web", "tier": "front", "example.com/team": "a", "empty": ""}
	for selector, want := range map[string]bool{
		"app=web": true, "app==web": true, "app = web": true, "app=db": false, "app!=web": false, "app!=db": true,
		"none=x": false, "none!=x": true, "app": true, "none": false, "!app": false, "!none": true, "! none": true,
		"app in (db, web)": true, "app in (db)": false, "app notin (db,x)": true, "app notin (web)": false, "none notin (web)": true,
		"app=web,tier=front": true, "app=web,tier=back": false, "app in (web,db),!none": true,
		"example.com/team=a": true, "empty=": true, "app=": false,
	} {
		p, err := drain.NewPolicy([]drain.Rule{{Selector: selector, Action: drain.ActionSkip}}, "", "")
		if err != nil {
			t.Errorf("%q: %v", selector, err)
			continue
		}
		got := p.Decide(pod(func(p *model.Pod) { p.Labels = labels }), drain.Circumstances{}).Action == drain.Leave
		if got != want {
			t.Errorf("%q matches: %v, want %v", selector, got, want)
		}
	}
}

func TestRulesThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		rule drain.Rule
		key  string
	}{
		"matches every pod":          {drain.Rule{Action: drain.ActionSkip}, ""},
		"an unknown action":          {drain.Rule{Owners: []string{"Job"}, Action: "kill"}, "action"},
		"a bad namespace":            {drain.Rule{Namespaces: []string{"["}}, "namespaces"},
		"an empty namespace":         {drain.Rule{Namespaces: []string{""}}, "namespaces"},
		"an owner without a kind":    {drain.Rule{Owners: []string{"/db"}}, "owners"},
		"an owner without a name":    {drain.Rule{Owners: []string{"Job/"}}, "owners"},
		"an order out of all bounds": {drain.Rule{Owners: []string{"Job"}, Order: 100_000}, "order"},
		"two equal signs too many":   {drain.Rule{Selector: "a===b"}, "selector"},
		"an unknown operator":        {drain.Rule{Selector: "a within (b)"}, "selector"},
		"an open parenthesis":        {drain.Rule{Selector: "a in (b"}, "selector"},
		"a comma too many":           {drain.Rule{Selector: "a=b,"}, "selector"},
		"a space in a value":         {drain.Rule{Selector: "a=b c"}, "selector"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := tc.rule.Check()
			if len(problems) != 1 || problems[0].Key != tc.key {
				t.Fatalf("problems are %v, want one with %q", problems, tc.key)
			}
			p, err := drain.NewPolicy([]drain.Rule{{Owners: []string{"Job"}}, tc.rule}, "", "")
			if err == nil || !strings.Contains(err.Error(), "rule 2") {
				t.Errorf("error is %v, want one that names rule 2", err)
			}
			if d := p.Decide(pod(nil), drain.Circumstances{}); d.Action != drain.Evict {
				t.Errorf("a rule that cannot be used was applied: %v", d)
			}
		})
	}
}

func TestDoNotDisrupt(t *testing.T) {
	held := func(p *model.Pod) { p.Detail = &model.PodDetail{DoNotDisrupt: "karpenter.sh/do-not-disrupt: true"} }
	until := func(p *model.Pod) {
		p.Detail = &model.PodDetail{DoNotDisrupt: "karpenter.sh/do-not-disrupt: 1h", DoNotDisruptUntil: now.Add(time.Minute)}
	}
	passed := func(p *model.Pod) {
		p.Detail = &model.PodDetail{DoNotDisrupt: "karpenter.sh/do-not-disrupt: 1h", DoNotDisruptUntil: now}
	}
	rule := []drain.Rule{{Owners: []string{"ReplicaSet"}, Action: drain.ActionEvict}}
	for _, tc := range []struct {
		name   string
		change func(*model.Pod)
		policy drain.DoNotDisrupt
		rules  []drain.Rule
		forced bool
		want   drain.Action
		why    string
		wakes  bool
	}{
		{"refuse: waited for where the plan did not see it", held, drain.DoNotDisruptRefuse, nil, false, drain.Wait, drain.WaitDoNotDisrupt, false},
		{"wait", held, drain.DoNotDisruptWait, nil, false, drain.Wait, drain.WaitDoNotDisrupt, false},
		{"evict, and say so", held, drain.DoNotDisruptEvict, nil, false, drain.Evict, drain.WaitDoNotDisrupt, false},
		{"a rule overrides", held, drain.DoNotDisruptWait, rule, false, drain.Evict, drain.WaitDoNotDisrupt, false},
		{"the end of patience", held, drain.DoNotDisruptWait, nil, true, drain.Evict, drain.WaitDoNotDisrupt, false},
		{"for a while", until, drain.DoNotDisruptWait, nil, false, drain.Wait, drain.WaitDoNotDisrupt, true},
		{"a while that has passed", passed, drain.DoNotDisruptWait, nil, false, drain.Evict, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := drain.NewPolicy(tc.rules, tc.policy, "")
			if err != nil {
				t.Fatal(err)
			}
			d := p.Decide(pod(tc.change), drain.Circumstances{Now: now, Forced: tc.forced})
			if d.Action != tc.want || d.Why != tc.why || d.Until.IsZero() == tc.wakes {
				t.Errorf("got %+v", d)
			}
		})
	}
}

func TestDecideOnWhatHangs(t *testing.T) {
	ending := func(ago time.Duration) *model.Pod {
		return pod(func(p *model.Pod) {
			p.Terminating, p.Detail = true, &model.PodDetail{EndsBy: now.Add(-ago)}
		})
	}
	var p drain.Policy
	for _, tc := range []struct {
		name   string
		pod    *model.Pod
		c      drain.Circumstances
		action drain.Action
		why    string
	}{
		{"within its grace", ending(-time.Minute), drain.Circumstances{Unreachable: true}, drain.Wait, drain.WaitEnding},
		{"a moment late on a node that is silent", ending(59 * time.Second), drain.Circumstances{Unreachable: true}, drain.Wait, drain.WaitEnding},
		{"long late on a node that is silent", ending(time.Minute), drain.Circumstances{Unreachable: true}, drain.Leave, drain.LeaveUnreachable},
		{"long late on a node that answers", ending(time.Hour), drain.Circumstances{}, drain.Wait, drain.WaitEnding},
		{"long late, forced", ending(time.Hour), drain.Circumstances{Forced: true}, drain.Leave, drain.LeaveStuck},
		{"not ending, on a node that is silent", pod(nil), drain.Circumstances{Unreachable: true}, drain.Evict, ""},
		{"one that came back", pod(nil), drain.Circumstances{Returned: true}, drain.Leave, drain.LeaveReturned},
		{"one that comes back, and is protected", pod(nil), drain.Circumstances{Returns: true, Forced: true}, drain.Wait, drain.WaitReturns},
		{"one that no new node may take", pod(nil), drain.Circumstances{Homeless: true}, drain.Wait, drain.WaitLostLabel},
		{"one that no new node may take, forced", pod(nil), drain.Circumstances{Homeless: true, Forced: true}, drain.Evict, drain.WaitLostLabel},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.c.Now = now
			if d := p.Decide(tc.pod, tc.c); d.Action != tc.action || d.Why != tc.why {
				t.Errorf("got %v %q, want %v %q", d.Action, d.Why, tc.action, tc.why)
			}
		})
	}
}

// TestTiers holds the order of Karpenter's terminator, and that a rule's order
// counts within a tier only.
func TestTiers(t *testing.T) {
	p, err := drain.NewPolicy([]drain.Rule{{Selector: "late", Order: 5}}, "", drain.DaemonSetsLast)
	if err != nil {
		t.Fatal(err)
	}
	daemon := model.WorkloadKey{Kind: "DaemonSet", Namespace: "default", Name: "agent"}
	want := []*model.Pod{
		pod(nil),
		pod(func(p *model.Pod) { p.Labels = map[string]string{"late": "yes"} }),
		pod(func(p *model.Pod) { p.Owner = daemon }),
		pod(func(p *model.Pod) { p.ToleratesCordon, p.Labels = true, map[string]string{"late": "yes"} }),
		pod(func(p *model.Pod) { p.Priority = drain.SystemCritical }),
		pod(func(p *model.Pod) { p.Priority, p.Owner = drain.SystemCritical, daemon }),
	}
	var last drain.Place
	for i, pod := range want {
		d := p.Decide(pod, drain.Circumstances{Now: now})
		if d.Action != drain.Evict {
			t.Errorf("pod %d is not evicted: %+v", i, d)
		}
		if i > 0 && !last.Before(d.Place) {
			t.Errorf("pod %d is not after the one before it: %v, %v", i, last, d.Place)
		}
		last = d.Place
	}
}
