package aws

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Activity is a scaling activity as DescribeScalingActivities shows it.
type Activity struct {
	ActivityID           string `x:"ActivityId"`
	AutoScalingGroupName string
	Description          string
	Cause                string
	StartTime            time.Time
	EndTime              time.Time
	StatusCode           string
	StatusMessage        string
	Progress             int32
	Details              string
	AutoScalingGroupARN  string

	order int64 // rises with every activity of the account
}

// pageKey sorts the newest first.
func (a *Activity) pageKey() string { return fmt.Sprintf("%016x", 1<<62-a.order) }

// maxActivities bounds what a group remembers. AWS keeps six weeks; a sandbox keeps the last few thousand.
const maxActivities = 5000

func (c *Cloud) begin(g *group, description, cause, status, zone string, now time.Time) *Activity {
	a := &Activity{
		ActivityID: c.newUUID(), AutoScalingGroupName: g.name, AutoScalingGroupARN: g.arn, Description: description, Cause: clip(cause, 1023),
		StartTime: now, StatusCode: status, Details: `{"Subnet ID":"` + c.SubnetID(zone) + `","Availability Zone":"` + zone + `"}`,
	}
	c.nextActivity++
	a.order = c.nextActivity
	if len(g.activities) >= maxActivities {
		g.activities = g.activities[len(g.activities)-maxActivities+1:]
	}
	g.activities = append(g.activities, a)
	return a
}

// The status codes of an activity that can be seen here, with the progress that AWS shows for them.
const (
	activityPreInService = "PreInService"
	activityInProgress   = "InProgress"
	activityMidHook      = "MidLifecycleAction"
	activitySuccessful   = "Successful"
	activityFailed       = "Failed"
	activityCancelled    = "Cancelled"
)

func (a *Activity) step(status string, progress int32) {
	a.StatusCode, a.Progress = status, progress
}

func (a *Activity) end(status, message string, now time.Time) {
	a.StatusCode, a.StatusMessage, a.Progress, a.EndTime = status, clip(message, 255), 100, now
}

func (a *Activity) ended() bool { return !a.EndTime.IsZero() }

// inProgress finds an activity of the group that is not over.
func (g *group) inProgress() *Activity {
	for _, m := range g.members {
		if m.activity != nil && !m.activity.ended() {
			return m.activity
		}
	}
	return nil
}

// stamp is how causes write times.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func itoa(n int) string { return strconv.Itoa(n) }

// clip keeps a text within the length that AWS's model allows, cutting at a whole character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
