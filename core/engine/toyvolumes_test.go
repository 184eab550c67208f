package engine_test

import (
	"maps"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// toyVolumes are the persistent volumes of a toy world: one for each workload
// that has any, attached where the workload's first pod runs.
type toyVolumes struct {
	claims      map[model.WorkloadKey][]string
	of          map[model.WorkloadKey]string
	attachments map[string]model.Attachment // by name
	slow        bool                        // volumes stay attached until the script detaches them
}

func newToyVolumes() toyVolumes {
	return toyVolumes{claims: map[model.WorkloadKey][]string{}, of: map[model.WorkloadKey]string{}, attachments: map[string]model.Attachment{}}
}

// addVolume gives a workload a claim that is bound to a volume. Its attachment
// appears with its first pod.
func (t *toy) addVolume(k model.WorkloadKey, volume string) {
	c := model.Claim{ClaimKey: model.ClaimKey{Namespace: k.Namespace, Name: "data-" + k.Name}, UID: "claim-" + k.Name, Volume: volume}
	t.volumes.of[k] = volume
	t.volumes.claims[k] = []string{c.Name}
	t.deltas.more.Claims = append(t.deltas.more.Claims, c)
}

// attach lets a pod that has just started have its volume.
func (t *toy) attach(p *model.Pod, volume string) {
	a := model.Attachment{Name: "csi-" + volume + "-" + p.Node, UID: "csi-" + volume + "-" + p.Node, Node: p.Node, Volume: volume, Attached: true}
	t.volumes.attachments[a.Name] = a
	t.deltas.more.Attachments = append(t.deltas.more.Attachments, a)
}

// detach ends the attachments of a volume; without a name, all whose pod has
// left its node, unless volumes are slow.
func (t *toy) detach(volume string) {
	for _, name := range slices.Sorted(maps.Keys(t.volumes.attachments)) {
		a := t.volumes.attachments[name]
		used := slices.ContainsFunc(t.sortedPods(), func(p *model.Pod) bool { return p.Node == a.Node && len(p.Claims) > 0 })
		if a.Volume == volume || volume == "" && !used && !t.volumes.slow {
			delete(t.volumes.attachments, name)
			t.deltas.more.AttachmentsGone = append(t.deltas.more.AttachmentsGone, name)
		}
	}
}
