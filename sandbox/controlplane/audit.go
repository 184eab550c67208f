package controlplane

// auditPolicy keeps what a verdict on a rotation needs: who deleted, created or
// evicted which pod, and who changed which node. Subresources are named one by
// one: the kubelets' status updates would drown the rest. Of rotatord's own user all
// calls are kept, so that they can be counted.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
omitManagedFields: true
rules:
- level: Metadata
  users: [` + string(UserAdmin) + `]
- level: Metadata
  verbs: [delete, deletecollection]
  resources: [{group: "", resources: [pods, nodes]}]
- level: Metadata
  verbs: [create]
  resources: [{group: "", resources: [pods/eviction, nodes]}]
- level: Metadata
  verbs: [patch, update]
  resources: [{group: "", resources: [nodes]}]
- level: None
`
