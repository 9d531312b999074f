// The Service Bus namespace, the topic of all order events, and its two subscriptions.

param name string
param location string
param tags object

@allowed(['Standard', 'Premium'])
param sku string
param publicNetworkAccess string

@description('Who may send and receive: { id, type }.')
param principals array
param logAnalyticsWorkspaceId string

// Handled in any order, or invoice by invoice: with sessions a message's session id is its stream.
var subscriptions = [
  {
    name: 'billing'
    requiresSession: false
  }
  {
    name: 'fulfilment'
    requiresSession: true
  }
]

var roles = {
  sender: '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39' // Azure Service Bus Data Sender
  receiver: '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0' // Azure Service Bus Data Receiver
}

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: sku == 'Premium' ? { name: sku, tier: sku, capacity: 1 } : { name: sku, tier: sku }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicNetworkAccess
  }
}

resource orders 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = {
  parent: namespace
  name: 'orders'
  properties: {
    defaultMessageTimeToLive: 'P14D'
    supportOrdering: true
  }
}

resource subscription 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = [
  for spec in subscriptions: {
    parent: orders
    name: spec.name
    properties: {
      requiresSession: spec.requiresSession
      lockDuration: 'PT1M'
      maxDeliveryCount: 10
      // Off by default: an expired message would vanish without a trace.
      deadLetteringOnMessageExpiration: true
      deadLetteringOnFilterEvaluationExceptions: true
    }
  }
]

resource send 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in principals: {
    scope: orders
    name: guid(orders.id, principal.id, roles.sender)
    properties: {
      principalId: principal.id
      principalType: principal.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.sender)
    }
  }
]

resource receive 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in principals: {
    scope: orders
    name: guid(orders.id, principal.id, roles.receiver)
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
