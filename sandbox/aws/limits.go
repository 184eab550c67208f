package aws

import (
	"strings"
	"sync"
	"time"
)

// RateLimit is a token bucket: Burst calls at once, PerSecond more each second. The zero value is no limit.
type RateLimit struct {
	Burst     float64
	PerSecond float64
}

// DefaultRateLimits are AWS's limits for one account in one region. The keys are call families: SERVICE:ACTION for an
// action with a bucket of its own, else SERVICE:read (Describe, Get, List) or SERVICE:write.
//
// EC2's are those of its guide ("Request throttling for the Amazon EC2 API"). Auto Scaling publishes none; its figures
// here are what users report (bursts of a hundred describes pass, a steady tenth of that does). Elastic Load Balancing's
// are not published either: these are below what its users get, so that a driver that polls each target is noticed. So are EKS'. SSM and STS: their
// published quotas.
func DefaultRateLimits() map[string]RateLimit {
	return map[string]RateLimit{
		"ec2:read":                        {Burst: 100, PerSecond: 20},
		"ec2:write":                       {Burst: 50, PerSecond: 5},
		"ec2:RunInstances":                {Burst: 5, PerSecond: 2},
		"ec2:TerminateInstances":          {Burst: 100, PerSecond: 5},
		"ec2:CreateTags":                  {Burst: 100, PerSecond: 10},
		"ec2:DeleteTags":                  {Burst: 100, PerSecond: 10},
		"ec2:CreateLaunchTemplateVersion": {Burst: 100, PerSecond: 5},
		"autoscaling:read":                {Burst: 100, PerSecond: 20},
		"autoscaling:write":               {Burst: 50, PerSecond: 10},
		"elasticloadbalancing:read":       {Burst: 40, PerSecond: 10},
		"elasticloadbalancing:write":      {Burst: 20, PerSecond: 5},
		"eks:read":                        {Burst: 60, PerSecond: 10},
		"eks:write":                       {Burst: 10, PerSecond: 2},
		"ssm:read":                        {Burst: 40, PerSecond: 40},
		"sts:read":                        {Burst: 600, PerSecond: 600},
	}
}

// limiter holds a bucket for each family, filled as time passes.
type limiter struct {
	mu      sync.Mutex
	limits  map[string]RateLimit
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(override map[string]RateLimit) *limiter {
	l := &limiter{limits: DefaultRateLimits(), buckets: map[string]*bucket{}}
	for k, v := range override {
		l.limits[k] = v
	}
	return l
}

// allow takes a token from the call's bucket, or says that it is empty.
func (l *limiter) allow(service, action string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := service + ":" + action
	limit, ok := l.limits[key]
	if !ok {
		key = family(service, action)
		limit = l.limits[key]
	}
	if limit == (RateLimit{}) {
		return true
	}
	b := l.buckets[key]
	if b == nil {
		b = &bucket{tokens: limit.Burst, at: now}
		l.buckets[key] = b
	}
	b.tokens = min(limit.Burst, b.tokens+limit.PerSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func family(service, action string) string {
	if reads(action) {
		return service + ":read"
	}
	return service + ":write"
}

// reads says that an action changes nothing.
func reads(action string) bool {
	for _, p := range []string{"Describe", "Get", "List"} {
		if strings.HasPrefix(action, p) {
			return true
		}
	}
	return false
}
