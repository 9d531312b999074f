using './main.bicep'

param environmentName = 'retail'
param cosmosCapacity = 'serverless'
param serviceBusSku = 'Standard'
// Your own object id (`az ad signed-in-user show --query id -o tsv`) lets you run the example from a laptop.
param developerPrincipalId = readEnvironmentVariable('DEVELOPER_PRINCIPAL_ID', '')
