package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// PatchWorkload brings a Deployment to the goal. As PatchNode it reads, and
// writes only what differs, under the resourceVersion that it has read. Count
// and label change in one write (the scale subresource could not): there is no
// moment at which the extra replica is there and nobody knows whose it is. A
// Deployment that is gone, or whose goal is reached, is success for GiveBack.
func (c *Cluster) PatchWorkload(ctx context.Context, k model.WorkloadKey, p engine.WorkloadPatch) error {
	ctx, cancel := c.call(ctx, callTimeout)
	defer cancel()
	what := k.String()
	if k.Kind != kindDeployment {
		return &engine.Error{Code: engine.ErrUnsupported, Message: what + ": only Deployments are moved this way"}
	}
	const resource = "deployments"
	permission := "get and patch deployments.apps in namespace " + k.Namespace
	pause := patchPause
	for try := 1; ; try++ {
		var d appsv1.Deployment
		if err := c.apps.Get().Namespace(k.Namespace).Resource(resource).Name(k.Name).Do(ctx).Into(&d); err != nil {
			if p.GiveBack && apierrors.IsNotFound(err) {
				return nil // and what was extra went with it
			}
			return classify(err, what, permission)
		}
		if p.UID != "" && string(d.UID) != p.UID {
			if p.GiveBack {
				return nil
			}
			return &engine.Error{Code: engine.ErrConflict,
				Message: fmt.Sprintf("%s was deleted and made again: it has uid %s, not %s", what, d.UID, p.UID)}
		}
		body, err := workloadPatch(&d, p)
		if err != nil {
			return err
		}
		if body == nil {
			return nil
		}
		err = c.apps.Patch(types.MergePatchType).Namespace(k.Namespace).Resource(resource).Name(k.Name).
			Param("fieldManager", fieldManager).Body(body).Do(ctx).Error()
		switch {
		case err == nil:
			return nil
		case apierrors.IsConflict(err) && try < patchTries:
		case apierrors.IsConflict(err):
			return &engine.Error{Code: engine.ErrTransient,
				Message: fmt.Sprintf("%s was changed by somebody else during each of %d tries", what, patchTries)}
		default:
			return classify(err, what, permission)
		}
		timer := time.NewTimer(pause + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return classify(ctx.Err(), what, permission)
		}
		pause *= 2
	}
}

// workloadPatch is the JSON merge patch that brings the Deployment to the goal;
// nil: it is there.
func workloadPatch(d *appsv1.Deployment, p engine.WorkloadPatch) ([]byte, error) {
	metadata := map[string]any{"resourceVersion": d.ResourceVersion}
	patch := map[string]any{"metadata": metadata}
	from, surged := d.Labels[model.LabelSurgedFrom]
	now := int(replicas(d.Spec.Replicas))
	switch {
	case p.Restart != "":
		if d.Spec.Template.Annotations[restartedAt] == p.Restart {
			return nil, nil
		}
		patch["spec"] = map[string]any{"template": map[string]any{"metadata": map[string]any{
			"annotations": map[string]string{restartedAt: p.Restart}}}}
	case p.Surge:
		if surged {
			return nil, nil
		}
		if now != p.Replicas {
			return nil, &engine.Error{Code: engine.ErrConflict,
				Message: fmt.Sprintf("Deployment %s/%s has %d replicas, not %d: somebody scaled it", d.Namespace, d.Name, now, p.Replicas)}
		}
		metadata["labels"] = map[string]string{model.LabelSurgedFrom: strconv.Itoa(now), model.LabelRotation: p.Rotation}
		patch["spec"] = map[string]any{"replicas": now + 1}
	case p.GiveBack:
		if !surged {
			return nil, nil
		}
		metadata["labels"] = map[string]any{model.LabelSurgedFrom: nil, model.LabelRotation: nil}
		// A label that a person has edited says nothing of the count.
		if before, err := strconv.Atoi(from); err == nil && now == before+1 {
			patch["spec"] = map[string]any{"replicas": before}
		}
	default:
		return nil, &engine.Error{Code: engine.ErrUnsupported, Message: fmt.Sprintf("patch of Deployment %s/%s without a goal", d.Namespace, d.Name)}
	}
	return json.Marshal(patch)
}
