// What the retail example needs in Azure: a Cosmos DB account for the events and read models, a Service
// Bus topic with two subscriptions, an event hub, and one identity that may use their data. Nobody has a
// key: local authentication is off everywhere.
targetScope = 'resourceGroup'

@description('Where everything is created.')
param location string = resourceGroup().location

@description('Tells several deployments in one resource group apart.')
@minLength(2)
@maxLength(12)
param environmentName string = 'retail'

@description('Serverless costs nothing at rest; autoscale has no limit of 5,000 RU/s per container and can span regions.')
@allowed(['serverless', 'autoscale'])
param cosmosCapacity string = 'serverless'

@description('Upper limit of the database in request units per second, shared by its containers. Autoscale only.')
@minValue(1000)
param cosmosMaxThroughput int = 4000

@description('Premium has its own hardware, messages up to 100 MB and private endpoints.')
@allowed(['Standard', 'Premium'])
param serviceBusSku string = 'Standard'

@description('Throughput units of the Event Hubs namespace: 1 MB/s or 1,000 events/s in, twice that out.')
@minValue(1)
@maxValue(40)
param eventHubsCapacity int = 1

@description('Switch off where private endpoints lead to the services (not created here).')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string = 'Enabled'

@description('Object id of a person who may use the data from a laptop. Empty: the identity alone.')
param developerPrincipalId string = ''

@description('Log Analytics workspace for logs and metrics. Empty: none are sent.')
param logAnalyticsWorkspaceId string = ''

param tags object = {}

// The same group and environment always give the same names, and no other group does.
var suffix = uniqueString(resourceGroup().id, environmentName)
var prefix = toLower('azevents-${environmentName}')

module identity 'modules/identity.bicep' = {
  name: '${prefix}-identity'
  params: {
    name: 'id-${prefix}-${suffix}'
    location: location
    tags: tags
  }
}

var developer = empty(developerPrincipalId) ? [] : [{ id: developerPrincipalId, type: 'User' }]
var service = [{ id: identity.outputs.principalId, type: 'ServicePrincipal' }]

module cosmos 'modules/cosmos.bicep' = {
  name: '${prefix}-cosmos'
  params: {
    name: 'cosmos-${prefix}-${suffix}'
    location: location
    tags: tags
    capacity: cosmosCapacity
    maxThroughput: cosmosMaxThroughput
    publicNetworkAccess: publicNetworkAccess
    principals: concat(service, developer)
    logAnalyticsWorkspaceId: logAnalyticsWorkspaceId
  }
}

module serviceBus 'modules/servicebus.bicep' = {
  name: '${prefix}-servicebus'
  params: {
    name: 'sb-${prefix}-${suffix}'
    location: location
    tags: tags
    sku: serviceBusSku
    publicNetworkAccess: publicNetworkAccess
    principals: concat(service, developer)
    logAnalyticsWorkspaceId: logAnalyticsWorkspaceId
  }
}

module eventHubs 'modules/eventhubs.bicep' = {
  name: '${prefix}-eventhubs'
  params: {
    name: 'evh-${prefix}-${suffix}'
    location: location
    tags: tags
    capacity: eventHubsCapacity
    publicNetworkAccess: publicNetworkAccess
    principals: concat(service, developer)
    logAnalyticsWorkspaceId: logAnalyticsWorkspaceId
  }
}

// Named as the environment variables that the example reads.
output COSMOS_ENDPOINT string = cosmos.outputs.endpoint
output COSMOS_DATABASE string = cosmos.outputs.database
output SERVICEBUS_NAMESPACE string = serviceBus.outputs.host
output EVENTHUBS_NAMESPACE string = eventHubs.outputs.host
output AZURE_CLIENT_ID string = identity.outputs.clientId
