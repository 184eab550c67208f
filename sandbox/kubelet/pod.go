package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// startPod makes a bound pod Running and, unless told otherwise, Ready.
func (s *Simulator) startPod(ctx context.Context, p *corev1.Pod, n *corev1.Node) (time.Duration, error) {
	if wait := time.Until(firstSeen(&s.bound, p.UID).Add(delay(p, AnnotationStartDelay, s.opts.StartDelay))); wait > 0 {
		return wait, nil
	}
	if hasClaims(p) && !s.mounted(p, n) {
		// The claim may be bound, and the node's status told, at any moment.
		s.queue.Add(key{name: n.Name})
		return 200 * time.Millisecond, nil
	}
	now := metav1.Now()
	ready := corev1.ConditionTrue
	if NeverReady(p) {
		ready = corev1.ConditionFalse
	}
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, PodIP: s.nextIP(), HostIP: internalIP(n)}
	status.PodIPs, status.HostIPs = []corev1.PodIP{{IP: status.PodIP}}, []corev1.HostIP{{IP: status.HostIP}}
	if p.Spec.HostNetwork {
		status.PodIP, status.PodIPs = status.HostIP, []corev1.PodIP{{IP: status.HostIP}}
	}
	status.Conditions = podConditions(now, ready, "")
	started := true
	for _, c := range p.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: ready == corev1.ConditionTrue, Started: &started,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return 0, s.patchStatus(ctx, p, status)
}

// calledNotReady tells whether somebody else says that a running pod is not
// Ready. The node lifecycle controller says so of all pods of a node whose
// lease ran out; once its kubelet is heard of again, it must contradict.
func calledNotReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status != corev1.ConditionTrue && !NeverReady(p)
		}
	}
	return false
}

func readyAgain() corev1.PodStatus {
	return corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
	}}
}

// completePod lets a pod that may complete succeed after its time.
func (s *Simulator) completePod(ctx context.Context, p *corev1.Pod) (time.Duration, error) {
	if p.Spec.RestartPolicy == corev1.RestartPolicyAlways || p.Status.StartTime == nil {
		return 0, nil
	}
	if wait := time.Until(p.Status.StartTime.Add(delay(p, AnnotationRunDelay, s.opts.RunDelay))); wait > 0 {
		return wait, nil
	}
	return 0, s.patchStatus(ctx, p, endedStatus(p, corev1.PodSucceeded, 0))
}

// exitSIGTERM is what a container that SIGTERM ended exits with.
const exitSIGTERM = 128 + 15

// stopPod ends a pod that is being deleted: within its stop delay, and no later
// than its grace period allows.
func (s *Simulator) stopPod(ctx context.Context, p *corev1.Pod) (time.Duration, error) {
	var grace time.Duration
	if g := p.DeletionGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	// Counted from when it was seen here: deletionTimestamp has whole seconds.
	stop := min(grace, delay(p, AnnotationStopDelay, s.opts.StopDelay))
	if wait := time.Until(firstSeen(&s.ending, p.UID).Add(stop)); wait > 0 {
		return wait, nil
	}
	// A pod that may complete has an outcome, and the Job controller counts it.
	// For other pods the update would be one more write that nobody reads.
	if p.Spec.RestartPolicy != corev1.RestartPolicyAlways && p.Status.Phase == corev1.PodRunning {
		if err := s.patchStatus(ctx, p, endedStatus(p, corev1.PodFailed, exitSIGTERM)); err != nil {
			return 0, err
		}
	}
	zero := int64(0)
	return 0, s.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.UID},
	})
}

// endedStatus is a pod's status once its containers have exited.
func endedStatus(p *corev1.Pod, phase corev1.PodPhase, exitCode int32) corev1.PodStatus {
	now := metav1.Now()
	reason := "PodFailed"
	if phase == corev1.PodSucceeded {
		reason = "PodCompleted"
	}
	status := corev1.PodStatus{Phase: phase, Conditions: podConditions(now, corev1.ConditionFalse, reason)}
	for _, c := range p.Status.ContainerStatuses {
		exit := &corev1.ContainerStateTerminated{ExitCode: exitCode, Reason: "Completed", FinishedAt: now}
		if exitCode != 0 {
			exit.Reason = "Error"
		}
		if c.State.Running != nil {
			exit.StartedAt = c.State.Running.StartedAt
		}
		c.Ready, c.Started, c.State = false, new(bool), corev1.ContainerState{Terminated: exit}
		status.ContainerStatuses = append(status.ContainerStatuses, c)
	}
	return status
}

func podConditions(now metav1.Time, ready corev1.ConditionStatus, reason string) []corev1.PodCondition {
	return []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: now, Reason: reason},
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: now, Reason: reason},
	}
}

// patchStatus is refused for another pod of the same name: the UID is part of
// the patch. Conditions that others set (PodScheduled, DisruptionTarget) stay.
func (s *Simulator) patchStatus(ctx context.Context, p *corev1.Pod, status corev1.PodStatus) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": status})
	if err != nil {
		return fmt.Errorf("status of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	_, err = s.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// nextIP yields addresses from 10.64.0.0/10, which no machine or service uses.
func (s *Simulator) nextIP() string {
	ip := s.lastIP.Add(1)
	return fmt.Sprintf("10.%d.%d.%d", 64+ip>>16&63, ip>>8&255, ip&255)
}

func internalIP(n *corev1.Node) string {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	return "127.0.0.1"
}
