// The Cosmos DB account, its database, and the containers. Data-plane roles cannot create containers, so
// they are created here, with the same keys and indexes as `Cosmos::provision` gives them on an emulator.

param name string
param location string
param tags object

@allowed(['serverless', 'autoscale'])
param capacity string
param maxThroughput int
param publicNetworkAccess string

@description('Who may read and write data: { id, type }.')
param principals array
param logAnalyticsWorkspaceId string

var databaseName = 'retail'

// `indexed`: what is queried by. An index entry is paid for with every write, so the rest is excluded.
var containers = [
  {
    name: 'events'
    partitionKey: '/stream'
    indexed: [{ path: '/category/?' }]
  }
  {
    name: 'leases'
    partitionKey: '/reader'
    indexed: []
  }
  {
    name: 'readmodels'
    partitionKey: '/partition'
    indexed: [{ path: '/kind/?' }]
  }
  {
    name: 'deadletters'
    partitionKey: '/source'
    indexed: [{ path: '/reason/?' }, { path: '/event_type/?' }]
  }
  {
    name: 'status'
    partitionKey: '/partition'
    indexed: [{ path: '/kind/?' }]
  }
]

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: [
      {
        locationName: location
        failoverPriority: 0
        isZoneRedundant: false
      }
    ]
    capabilities: capacity == 'serverless' ? [{ name: 'EnableServerless' }] : []
    consistencyPolicy: {
      defaultConsistencyLevel: 'Session'
    }
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: {
        tier: 'Continuous30Days'
      }
    }
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: publicNetworkAccess
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2025-04-15' = {
  parent: account
  name: databaseName
  properties: {
    resource: {
      id: databaseName
    }
    options: capacity == 'autoscale' ? { autoscaleSettings: { maxThroughput: maxThroughput } } : {}
  }
}

resource container 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2025-04-15' = [
  for spec in containers: {
    parent: database
    name: spec.name
    properties: {
      resource: {
        id: spec.name
        partitionKey: {
          kind: 'Hash'
          version: 2
          paths: [spec.partitionKey]
        }
        // On, without a default: a document can carry its own time to live.
        defaultTtl: -1
        indexingPolicy: {
          indexingMode: 'consistent'
          automatic: true
          includedPaths: spec.indexed
          excludedPaths: [
            {
              path: '/*'
            }
          ]
        }
      }
    }
  }
]

// Cosmos DB Built-in Data Contributor. At the account, for clients read its metadata before anything else.
var dataContributor = '00000000-0000-0000-0000-000000000002'

resource access 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = [
  for principal in principals: {
    parent: account
    name: guid(account.id, principal.id, dataContributor)
    properties: {
      principalId: principal.id
      roleDefinitionId: '${account.id}/sqlRoleDefinitions/${dataContributor}'
      scope: account.id
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(logAnalyticsWorkspaceId)) {
  scope: account
  name: 'azevents'
  properties: {
    workspaceId: logAnalyticsWorkspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'DataPlaneRequests'
        enabled: true
      }
      {
        category: 'PartitionKeyRUConsumption'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Requests'
        enabled: true
      }
    ]
  }
}

output endpoint string = account.properties.documentEndpoint
output database string = database.name
