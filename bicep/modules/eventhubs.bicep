// The Event Hubs namespace, the hub of all order events, and the consumer group that reads it.

param name string
param location string
param tags object
param capacity int
param publicNetworkAccess string

@description('Who may send and receive: { id, type }.')
param principals array
param logAnalyticsWorkspaceId string

var roles = {
  sender: '2b629674-e913-4c01-ae53-ef4638d8f975' // Azure Event Hubs Data Sender
  receiver: 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde' // Azure Event Hubs Data Receiver
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: capacity
  }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicNetworkAccess
    isAutoInflateEnabled: false
  }
}

resource orderEvents 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: 'order-events'
  properties: {
    // Fixed for the hub's life on this tier. A stream's events are always in one partition.
    partitionCount: 4
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: 168
    }
  }
}

resource analytics 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = {
  parent: orderEvents
  name: 'analytics'
  properties: {}
}

resource send 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in principals: {
    scope: orderEvents
    name: guid(orderEvents.id, principal.id, roles.sender)
    properties: {
      principalId: principal.id
      principalType: principal.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.sender)
    }
  }
]

resource receive 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in principals: {
    scope: orderEvents
    name: guid(orderEvents.id, principal.id, roles.receiver)
    properties: {
      principalId: principal.id
      principalType: principal.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.receiver)
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(logAnalyticsWorkspaceId)) {
  scope: namespace
  name: 'azevents'
  properties: {
    workspaceId: logAnalyticsWorkspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

// The endpoint reads https://<host>:443/, with the host of whichever cloud this is.
output host string = split(split(namespace.properties.serviceBusEndpoint, '/')[2], ':')[0]
